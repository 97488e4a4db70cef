"""The problems of the arithmetic source, without wording: chains of sums, and searches in which checking pays off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Literal, TypeAlias

LARGEST_STEP = 9

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
    """Candidates, one of which makes a round number with a step. A choice without a check is mostly wrong.

    Whether a number is round is seen in the number alone. A search for a number of the question would need a comparison
    of two numbers, which a model of two layers learns late or, with some seeds, never.
    """

    candidates: tuple[int, ...]
    step: int
    """-``LARGEST_STEP`` to ``LARGEST_STEP``, never 0."""
    result: int
    """The right candidate."""

    @property
    def key(self) -> str:
        """Return the problem's identity, whatever its language and phrasing: ``3|12|15+5``."""
        return "|".join(map(str, self.candidates)) + f"{self.step:+d}"

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
    rooms = (_candidates(step, largest) for step in _STEPS)
    return min(1 + len(others) if fitting else 0 for fitting, others in rooms)


def random_search(rng: Random, length: int, largest: int) -> Search:
    """Return a search among ``length`` different candidates, in which all numbers are from 1 to ``largest``."""
    step = rng.choice(_STEPS)
    fitting, others = _candidates(step, largest)
    result = rng.choice(fitting)
    candidates = [result, *rng.sample(others, length - 1)]
    rng.shuffle(candidates)
    return Search(tuple(candidates), step, result)


def _candidates(step: int, largest: int) -> tuple[list[int], list[int]]:
    """Return the candidates that make a round number with a step, and the others."""
    numbers = range(max(1, 1 - step), min(largest, largest - step) + 1)
    return (
        [number for number in numbers if (number + step) % 10 == 0],
        [number for number in numbers if (number + step) % 10],
    )


_STEPS = [step for step in range(-LARGEST_STEP, LARGEST_STEP + 1) if step != 0]


def forget_carry(value: int, step: int) -> int:
    """Return the sum without carry or borrow: the ones are right, the tens do not change."""
    return value // 10 * 10 + (value + step) % 10
