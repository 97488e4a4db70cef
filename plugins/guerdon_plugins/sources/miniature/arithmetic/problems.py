"""The problems of the arithmetic source, free of any wording: sums to follow, and searches in which checking pays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, TypeAlias

LARGEST_START = 20
LARGEST_VALUE = 40
"""No running value of a chain is above this, or below 0."""


Task = Literal["sum", "search"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A number, and the steps that lead from it to the result."""

    start: int
    steps: tuple[int, ...]
    """What each step adds: -9 to 9, never 0."""

    @property
    def values(self) -> list[int]:
        """The running values: the start, and the value after each step."""
        return list(accumulate(self.steps, initial=self.start))

    @property
    def result(self) -> int:
        return self.start + sum(self.steps)

    @property
    def key(self) -> str:
        """The problem itself, whatever its language and phrasing: ``12+5-3``."""
        return str(self.start) + "".join(f"{step:+d}" for step in self.steps)

    @property
    def level(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Search:
    """Numbers, one of which a step leads to the target. Whoever takes one without a check is mostly wrong."""

    candidates: tuple[int, ...]
    step: int
    """-9 to 9, never 0."""
    result: int
    """The candidate that it is about."""

    @property
    def target(self) -> int:
        return self.result + self.step

    @property
    def key(self) -> str:
        """The problem itself, whatever its language and phrasing: ``3|12|8+5=17``."""
        return "|".join(map(str, self.candidates)) + f"{self.step:+d}={self.target}"

    @property
    def level(self) -> int:
        return len(self.candidates)


Problem: TypeAlias = Chain | Search


def random_chain(rng: Random, length: int) -> Chain:
    """A chain of ``length`` steps whose running values stay in range."""
    start = value = rng.randint(1, LARGEST_START)
    steps = []
    for _ in range(length):
        step = rng.choice([step for step in _STEPS if 0 <= value + step <= LARGEST_VALUE])
        steps.append(step)
        value += step
    return Chain(start, tuple(steps))


def random_search(rng: Random, length: int) -> Search:
    """A search among ``length`` candidates.

    No candidate's sum is a number of the problem but the target: to see what fits is to see a number again.
    """
    while True:
        step = rng.choice(_STEPS)
        candidates = rng.sample(range(max(1, 1 - step), LARGEST_START + 1), length)
        sums = {candidate + step for candidate in candidates}
        if not sums & {*candidates, abs(step)}:
            return Search(tuple(candidates), step, rng.choice(candidates))


_STEPS = [step for step in range(-9, 10) if step != 0]


def forget_carry(value: int, step: int) -> int:
    """The sum of someone who forgets to carry or borrow: the ones are right, the tens stay as they were."""
    return value // 10 * 10 + (value + step) % 10
