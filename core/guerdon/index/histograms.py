"""Count the rewards of a stage over its steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.index.filters import Filters
from guerdon.index.rows import Names
from guerdon.index.selecting import select
from guerdon.index.store import RunIndex


@dataclass(frozen=True, slots=True)
class Histogram:
    """The rewards of a stage over its steps."""

    steps: Sequence[tuple[int, int]]
    """First and last step of each column."""
    edges: Sequence[float]
    """The bins' limits, one more than there are bins."""
    counts: Sequence[Sequence[int]]
    """Rollouts by column and bin."""


MOST_COLUMNS, BINS = 40, 20


def reward_histogram(index: RunIndex, stage: str) -> Histogram | None:
    """Return how many rollouts of each step had which reward, or ``None`` if none had one."""

    def answer(db: sqlite3.Connection) -> Histogram | None:
        names, scored = Names.read(db), Filters(stage=stage, reward_min=-np.inf)
        ends = [
            (steps.min(), steps.max(), rewards.min(), rewards.max())
            for chunk, places in select(db, names, scored)
            for steps, rewards in [(chunk["step"][places], chunk["reward"][places])]
        ]
        if not ends:
            return None
        firsts, lasts, leasts, mosts = zip(*ends, strict=True)
        first, last, least = int(min(firsts)), int(max(lasts)), float(min(leasts))
        width = -(-(last - first + 1) // MOST_COLUMNS)
        columns = -(-(last - first + 1) // width)
        most = float(max(mosts))
        half = most / 2 - least / 2 or 0.5  # the whole span may be no number
        counts = np.zeros(columns * BINS, np.int64)
        for chunk, places in select(db, names, scored):
            column = (chunk["step"][places] - first) // width
            place = np.minimum(
                ((chunk["reward"][places] / 2 - least / 2) / half * BINS).astype(np.int64), BINS - 1
            )
            counts += np.bincount(column * BINS + place, minlength=len(counts))
        steps = [(first + n * width, min(last, first + (n + 1) * width - 1)) for n in range(columns)]
        top = most if most > least else least + 1
        edges = [least * (1 - n / BINS) + top * (n / BINS) for n in range(BINS + 1)]
        return Histogram(steps, edges, counts.reshape(columns, BINS).tolist())

    return index.read(answer)
