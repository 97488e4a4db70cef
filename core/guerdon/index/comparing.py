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

    values = [side.index.read(partial(_values, side=side, by=by)) for side in (first, second)]
    keys = [of_side[0] for of_side in values]
    order = np.argsort(keys[0])
    orders = [order, order if np.array_equal(*keys) else np.argsort(keys[1])]
    one, two = (_means(*of_side, of_order) for of_side, of_order in zip(values, orders, strict=True))
    one, two = one.shared_with(two), two.shared_with(one)
    change = two.means - one.means
    flips = (two.means >= threshold).astype(int) - (one.means >= threshold)
    listed = _largest(np.flatnonzero(flips), change, size)
    others = _largest(np.flatnonzero((flips == 0) & (change != 0)), change, size - len(listed))
    chosen = np.concatenate([listed, others])
    rows = [
        side.index.read(partial(_rows, ids=means.ids[chosen].tolist()))
        for side, means in ((first, one), (second, two))
    ]
    pairs = [
        Pair(
            *(left.prompt, left.digest),
            means=(float(one.means[at]), float(two.means[at])),
            counts=(int(one.counts[at]), int(two.counts[at])),
            rows=(left, right),
            flip=int(flips[at]),
        )
        for at, left, right in zip(chosen, *rows, strict=True)
    ]
    return Comparison(
        *(len(change), int((change > 0).sum()), int((change < 0).sum())),
        *(int((flips > 0).sum()), int((flips < 0).sum())),
        means=(float(one.means.mean()), float(two.means.mean())) if len(change) else (None, None),
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


def _values(db: sqlite3.Connection, side: Side, by: By) -> tuple[Numbers, Numbers, Numbers]:
    """Return the key, the value and the id of each rollout of a side. Equal keys are one prompt, or one completion."""
    names = Names.read(db)
    entry = names.entries.get(side.measure)
    column = "reward" if side.measure == "reward" else f"value_{entry}" if entry else None
    keys, values, ids = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int64)]
    for chunk, places in select(db, names, side.filters) if column else ():
        key = chunk["prompt_digest"][places]
        keys.append(key * _MIXER + chunk["completion"][places] if by == "completion" else key)
        values.append(chunk[column][places])
        ids.append(chunk.ids[places])
    return np.concatenate(keys), np.concatenate(values), np.concatenate(ids)


_MIXER = np.int64(-7046029254386353131)
"""An odd number with as many ones as zeros, so that the digests of a prompt and of its completion make one key."""


@dataclass(frozen=True, slots=True)
class _Means:
    """The mean of each key's values, in the order of keys."""

    keys: Numbers
    means: Numbers
    counts: Numbers
    ids: Numbers
    """Each key's first rollout with a value."""

    def shared_with(self, other: _Means) -> _Means:
        """Return the part with the keys that the other has too."""
        places = np.searchsorted(other.keys, self.keys)
        shared = np.append(other.keys, 0)[places] == self.keys
        shared &= places < len(other.keys)
        return _Means(self.keys[shared], self.means[shared], self.counts[shared], self.ids[shared])


def _means(keys: Numbers, values: Numbers, ids: Numbers, order: Numbers) -> _Means:
    keys, values = keys[order], values[order]
    known = ~np.isnan(values)
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    if not len(keys):
        return _Means(keys, values, keys, keys)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    totals = np.add.reduceat(np.where(known, values, 0.0), starts)
    firsts = np.minimum.reduceat(np.where(known, ids[order], np.iinfo(np.int64).max), starts)
    some = counts > 0
    return _Means(keys[starts][some], totals[some] / counts[some], counts[some], firsts[some])
