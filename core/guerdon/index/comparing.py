"""Compare two sides of runs on the prompts, or on the completions, that both have."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from guerdon.index.filters import Filters
from guerdon.index.rows import Found, Names, read_rows
from guerdon.index.selecting import Numbers, select
from guerdon.index.store import RunIndex

By = Literal["prompt", "completion"]
"""What the sides are paired by. Equal completions of one prompt are one pair."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: some rollouts of a run, and what is compared."""

    index: RunIndex
    filters: Filters
    """The stage, model and steps."""
    measure: str = "reward"
    """``reward``, or an entry, whose values are compared."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt, or one completion, on both sides."""

    prompt: str
    digest: str
    """Of the prompt."""
    means: tuple[float, float]
    counts: tuple[int, int]
    rows: tuple[Found, Found]
    """The first rollout of each side."""
    flip: int
    """1 if the mean rose over the threshold, -1 if it fell below, else 0."""

    @property
    def change(self) -> float:
        """Return how much larger the second side's mean is."""
        return self.means[1] - self.means[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides on the prompts, or on the completions, that both have."""

    count: int
    """Pairs."""
    better: int
    worse: int
    flipped_up: int
    """Pairs whose mean rose over the threshold."""
    flipped_down: int
    means: tuple[float | None, float | None]
    pairs: Sequence[Pair]
    """The flips first, then the other pairs that differ; each with the largest changes first."""


def compare(
    first: Side, second: Side, threshold: float = 0.5, size: int = 100, by: By = "prompt"
) -> Comparison:
    """Return how two sides did on what both have.

    Args:
        first: One side.
        second: The other.
        threshold: A pair flips if one side's mean is at least this, and the other's is not.
        size: The most pairs that are listed.
        by: What the sides are paired by.
    """
    if (first.index.path, first.filters) == (second.index.path, second.filters):  # two verifiers
        sides = first.index.read(partial(_values, first.filters, [first.measure, second.measure], by))
        orders = [np.argsort(sides[0].keys)] * 2
    else:
        sides = [
            values
            for side in (first, second)
            for values in side.index.read(partial(_values, side.filters, [side.measure], by))
        ]
        orders = [np.argsort(side.keys) for side in sides]
    one, two = (_grouped(side, order) for side, order in zip(sides, orders, strict=True))
    places = _shared(one, two)
    one_means, two_means = one.means[places[0]], two.means[places[1]]
    change = two_means - one_means
    flips = (two_means >= threshold).astype(np.int8) - (one_means >= threshold)
    flipped = _largest(np.flatnonzero(flips), change, size)
    others = _largest(np.flatnonzero((flips == 0) & (change != 0)), change, size - len(flipped))
    chosen = np.concatenate([flipped, others])
    chosen_groups = [of_side[chosen].tolist() for of_side in places]
    rows = [
        side.index.read(partial(_rows, ids=[known.first(place) for place in of_side]))
        for side, known, of_side in ((first, one, chosen_groups[0]), (second, two, chosen_groups[1]))
    ]
    pairs = [
        Pair(
            *(left.prompt, left.digest),
            means=(float(one_means[at]), float(two_means[at])),
            counts=(int(one.counts[places[0][at]]), int(two.counts[places[1][at]])),
            rows=(left, right),
            flip=int(flips[at]),
        )
        for at, left, right in zip(chosen, *rows, strict=True)
    ]
    return Comparison(
        *(len(change), int((change > 0).sum()), int((change < 0).sum())),
        *(int((flips > 0).sum()), int((flips < 0).sum())),
        means=(float(one_means.mean()), float(two_means.mean())) if len(change) else (None, None),
        pairs=pairs,
    )


def _largest(places: Numbers, change: Numbers, most: int) -> Numbers:
    """Return the places with the largest changes, the largest first."""
    sizes = -np.abs(change[places])
    if len(places) > most:
        last = np.partition(sizes, most)[most]
        places = np.concatenate([places[sizes < last], places[sizes == last][:most]])[:most]
        sizes = -np.abs(change[places])
    return places[np.argsort(sizes, kind="stable")]


def _rows(db: sqlite3.Connection, ids: Sequence[int]) -> list[Found]:
    return read_rows(db, Names.read(db), ids)


@dataclass(frozen=True, slots=True)
class _Values:
    """The rollouts of a side. Equal keys are one prompt, or one completion of a prompt."""

    keys: Numbers
    values: Numbers
    """Not a number where a rollout has none."""
    ids: Numbers


@dataclass(frozen=True, slots=True)
class _Groups:
    """The rollouts with equal keys, in the order of keys."""

    side: _Values
    order: Numbers
    """The places of the rollouts."""
    starts: Numbers
    """Where each group begins in that order."""
    keys: Numbers
    means: Numbers
    counts: Numbers
    """How many of the rollouts have a value."""

    def first(self, group: int) -> int:
        """Return the id of the first rollout of a group that has a value."""
        end = self.starts[group + 1] if group + 1 < len(self.starts) else len(self.order)
        members = self.order[self.starts[group] : end]
        return int(self.side.ids[members[~np.isnan(self.side.values[members])]].min())


def _grouped(side: _Values, order: Numbers) -> _Groups:
    keys, values = side.keys[order], side.values[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    totals = np.add.reduceat(np.where(known, values, 0.0), starts)
    return _Groups(side, order, starts, keys[starts], totals / np.maximum(counts, 1), counts)


def _shared(one: _Groups, two: _Groups) -> tuple[Numbers, Numbers]:
    """Return the places, on both sides, of the groups that have values on both."""
    if np.array_equal(one.keys, two.keys):
        places = np.flatnonzero((one.counts > 0) & (two.counts > 0))
        return places, places
    others = np.searchsorted(two.keys, one.keys)
    places = np.flatnonzero(np.append(two.keys, 0)[others] == one.keys)
    places = places[others[places] < len(two.keys)]
    others = others[places]
    both = (one.counts[places] > 0) & (two.counts[others] > 0)
    return places[both], others[both]


def _values(filters: Filters, measures: Sequence[str], by: By, db: sqlite3.Connection) -> list[_Values]:
    """Return the rollouts that the filters let through, with their values of each measure."""
    names = Names.read(db)
    keys, ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    values = [[np.empty(0)] for _ in measures]
    for chunk, places in select(db, names, filters):
        key = chunk["prompt_digest"][places]
        keys.append(key * _MIXER + chunk["completion"][places] if by == "completion" else key)
        ids.append(chunk.ids[places])
        for measure, of_measure in zip(measures, values, strict=True):
            if measure == "reward":
                of_measure.append(chunk["reward"][places])
            elif measure in names.entries:
                of_measure.append(chunk[f"value_{names.entries[measure]}"][places])
            else:
                of_measure.append(np.full(len(places), np.nan))
    shared = np.concatenate(keys), np.concatenate(ids)
    return [_Values(shared[0], np.concatenate(of_measure), shared[1]) for of_measure in values]


_MIXER = np.int64(-7046029254386353131)
"""An odd number without a pattern, so that the digests of a prompt and of its completion make one key."""
