"""Dynamic sampling: groups of equal rewards are replaced by groups of fresh prompts (DAPO, arXiv 2503.14476)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

import torch

from guerdon.types import Judgement, Rollout

__all__ = ["Filled", "Group", "PromptOrder", "Sampled", "Signal", "fill", "signal_of"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One judged rollout, with what TRL trains on."""

    index: int
    """The row's index in the data."""
    rollout: Rollout
    judgement: Judgement
    generated: Sequence[Any]
    """The rollout's values of the lists that TRL's generation returns."""


Group = Sequence[Sampled]


class Signal(Enum):
    """What a group says about the gradient."""

    SOME = "some"
    """Its rewards differ."""
    CONSTANT = "constant"
    """Its rewards are equal, so no completion has an advantage."""
    FAILED = "failed"
    """Fewer than two of its rollouts have a reward, so nothing is known about the prompt."""


def signal_of(scored: int, columns: Sequence[Sequence[float]]) -> Signal:
    """Return what a group says.

    Rewards are compared in float32, in which TRL computes the advantages.

    Args:
        scored: The number of its rollouts with a reward.
        columns: The values that are normalized separately, each of the rollouts that have one; NaN counts as none.
    """
    if scored < 2:
        return Signal.FAILED
    for column in columns:
        values = torch.tensor(column, dtype=torch.float32)
        values = values[~values.isnan()]
        if len(values) and values.max() > values.min():
            return Signal.SOME
    return Signal.CONSTANT


class PromptOrder:
    """The endless random order of the data's rows from which fresh prompts come. Its state is ``position``.

    Args:
        rows: The number of rows.
        seed: The run's seed, or another text that decides the order.
    """

    def __init__(self, rows: int, seed: int | str) -> None:
        self._rows = rows
        self._seed = seed
        self._shuffled: tuple[int, list[int]] = (-1, [])
        self.position = 0
        """The number of rows that were passed."""

    def take(self, wanted: int, tried: Collection[int]) -> list[int]:
        """Return the next rows that were not tried: fewer than wanted if no others are left."""
        taken: list[int] = []
        for _ in range(2 * self._rows):  # so many hold one whole permutation
            if len(taken) == wanted:
                break
            row = self._at(self.position)
            self.position += 1
            if row not in tried and row not in taken:
                taken.append(row)
        return taken

    def _at(self, position: int) -> int:
        number, place = divmod(position, self._rows)
        if self._shuffled[0] != number:
            self._shuffled = (number, Random(f"{self._seed}/{number}").sample(range(self._rows), self._rows))
        return self._shuffled[1][place]


@dataclass(frozen=True, slots=True)
class Filled:
    """A batch after dynamic sampling."""

    groups: Sequence[Group]
    metrics: dict[str, float]
    constant: int
    """The groups of equal rewards that are left."""


def fill(
    batch: Sequence[Group],
    order: PromptOrder,
    sample: Callable[[Sequence[int]], Sequence[Group]],
    signal: Callable[[Group], Signal],
    *,
    max_rounds: int,
    multiple: int = 1,
) -> Filled:
    """Replace the batch's constant groups by groups with a signal, in at most ``max_rounds`` further rounds.

    A failed group stays in its place: another prompt would fail as well, and hide it. Groups that are left over are
    dropped, because the policy that sampled them changes.

    Args:
        batch: The groups that were sampled first.
        order: Gives fresh prompts. It must be the same in all processes.
        sample: Samples and judges one group for each row, in their order.
        signal: Returns what a group says.
        max_rounds: The bound.
        multiple: The number of groups that processes can share evenly; each round has a multiple of it.
    """
    groups = list(batch)
    signals = [signal(group) for group in groups]
    failed, informative = signals.count(Signal.FAILED), signals.count(Signal.SOME)
    open_places = [place for place, found in enumerate(signals) if found is Signal.CONSTANT]
    tried = {group[0].index for group in groups}
    sampled, rounds = len(groups), 1
    while open_places and rounds <= max_rounds:
        rows = order.take(math.ceil(len(open_places) / multiple) * multiple, tried)
        rows = rows[: len(rows) // multiple * multiple]
        if not rows:
            break
        tried.update(rows)
        rounds += 1
        sampled += len(rows)
        for group in sample(rows):
            found = signal(group)
            failed += found is Signal.FAILED
            informative += found is Signal.SOME
            if found is Signal.SOME and open_places:
                groups[open_places.pop(0)] = group
    metrics = {
        "sampled": sampled,
        "dropped": sampled - len(groups),
        "constant": sampled - informative - failed,
        "failed": failed,
        "rounds": rounds,
        "kept_share": (len(groups) - len(open_places) - signals.count(Signal.FAILED)) / sampled,
    }
    return Filled(groups, {name: float(value) for name, value in metrics.items()}, len(open_places))
