"""The problems of the arithmetic source, without wording: chains of sums, and searches in which checking pays off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, TypeAlias

LARGEST_START = 20
LARGEST_VALUE = 40
"""The largest running value of a chain; the smallest is 0."""


Task = Literal["sum", "search"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A number, and the steps that lead from it to the result."""

    start: int
    steps: tuple[int, ...]
    """The summand of each step: -9 to 9, never 0."""

    @property
    def values(self) -> list[int]:
        """Return the running values: the start, and the value after each step."""
        return list(accumulate(self.steps, initial=self.start))

    @property
    def result(self) -> int:
        return self.start + sum(self.steps)

    @property
    def key(self) -> str:
        """Return the problem's identity, whatever its language and phrasing: ``12+5-3``."""
        return str(self.start) + "".join(f"{step:+d}" for step in self.steps)

    @property
    def level(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Search:
    """Candidates, one of which reaches the target by a step. A choice without a check is mostly wrong."""

    candidates: tuple[int, ...]
    step: int
    """-9 to 9, never 0."""
    result: int
    """The right candidate."""

    @property
    def target(self) -> int:
        return self.result + self.step

    @property
    def key(self) -> str:
        """Return the problem's identity, whatever its language and phrasing: ``3|12|8+5=17``."""
        return "|".join(map(str, self.candidates)) + f"{self.step:+d}={self.target}"

    @property
    def level(self) -> int:
        return len(self.candidates)


Problem: TypeAlias = Chain | Search


def random_chain(rng: Random, length: int) -> Chain:
    """Return a chain of ``length`` steps whose running values stay in range."""
    start = value = rng.randint(1, LARGEST_START)
    steps = []
    for _ in range(length):
        step = rng.choice([step for step in _STEPS if 0 <= value + step <= LARGEST_VALUE])
        steps.append(step)
        value += step
    return Chain(start, tuple(steps))


def random_search(rng: Random, length: int) -> Search:
    """Return a search among ``length`` candidates.

    The target is the only candidate's sum that is a number of the problem, so that a match is a repeated number.
    """
    while True:
        step = rng.choice(_STEPS)
        candidates = rng.sample(range(max(1, 1 - step), LARGEST_START + 1), length)
        sums = {candidate + step for candidate in candidates}
        if not sums & {*candidates, abs(step)}:
            return Search(tuple(candidates), step, rng.choice(candidates))


_STEPS = [step for step in range(-9, 10) if step != 0]


def forget_carry(value: int, step: int) -> int:
    """Return the sum without carry or borrow: the ones are right, the tens do not change."""
    return value // 10 * 10 + (value + step) % 10
