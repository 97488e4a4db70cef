"""The problems of the arithmetic source, without wording: chains of sums, and searches in which checking pays off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, TypeAlias

LARGEST_STEP = 9
SMALLEST_GAP = 4
"""Between two candidates. A small model learns to compare numbers that are far apart long before neighbours."""


Task = Literal["sum", "search"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A number, and the steps that lead from it to the result."""

    start: int
    steps: tuple[int, ...]
    """The summand of each step: -``LARGEST_STEP`` to ``LARGEST_STEP``, never 0."""

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
    """-``LARGEST_STEP`` to ``LARGEST_STEP``, never 0."""
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


def random_chain(rng: Random, length: int, largest: int) -> Chain:
    """Return a chain of ``length`` steps whose running values are from 0 to ``largest``."""
    start = value = rng.randint(1, largest // 2)
    steps = []
    for _ in range(length):
        step = rng.choice([step for step in _STEPS if 0 <= value + step <= largest])
        steps.append(step)
        value += step
    return Chain(start, tuple(steps))


def longest_search(largest: int) -> int:
    """Return the most candidates for which there is room with any step, if no number is above ``largest``."""
    return (largest - LARGEST_STEP - 1) // SMALLEST_GAP + 1


def random_search(rng: Random, length: int, largest: int) -> Search:
    """Return a search among ``length`` candidates, in which all numbers are from 1 to ``largest``.

    The target is the only candidate's sum that is a number of the problem, so that a match is a repeated number.
    """
    while True:
        step = rng.choice(_STEPS)
        candidates = numbers_apart(rng, max(1, 1 - step), min(largest, largest - step), length)
        sums = {candidate + step for candidate in candidates}
        if not sums & {*candidates, abs(step)}:
            return Search(candidates, step, rng.choice(candidates))


def numbers_apart(rng: Random, smallest: int, largest: int, count: int) -> tuple[int, ...]:
    """Return numbers of a range in any order, any two of them ``SMALLEST_GAP`` apart or more."""
    widening = SMALLEST_GAP - 1
    packed = sorted(rng.sample(range(smallest, largest + 1 - widening * (count - 1)), count))
    numbers = [number + widening * index for index, number in enumerate(packed)]
    rng.shuffle(numbers)
    return tuple(numbers)


_STEPS = [step for step in range(-LARGEST_STEP, LARGEST_STEP + 1) if step != 0]


def forget_carry(value: int, step: int) -> int:
    """Return the sum without carry or borrow: the ones are right, the tens do not change."""
    return value // 10 * 10 + (value + step) % 10
