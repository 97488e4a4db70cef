"""Sum up an evaluation: the mean of each model, with its interval."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass

import numpy as np

from guerdon.index.filters import Filters
from guerdon.index.rows import Names
from guerdon.index.selecting import Numbers, select
from guerdon.index.store import RunIndex


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of one entry's values for one model, with its 95% interval over prompts."""

    model: str
    entry: str
    prompts: int
    mean: float
    low: float
    high: float


_Z = 1.96
"""Standard errors in half of a 95% interval of the normal distribution."""


def evaluation(index: RunIndex, stage: str) -> list[Interval]:
    """Return each entry's mean for each model of an evaluation.

    The mean is over the completions of a prompt, then over prompts; its standard error is that of the prompts' means.
    """

    def answer(db: sqlite3.Connection) -> list[Interval]:
        names = Names.read(db)
        with_models = "select 1 from sums where stage = ? and model != 0 limit 1"
        if db.execute(with_models, [names.stages.get(stage, -1)]).fetchone() is None:
            return []  # a training stage, whose rollouts may be many
        known = select(db, names, Filters(stage=stage))
        columns = ["model", "prompt", *(f"value_{number}" for number in names.entries.values())]
        parts = [[chunk[column][places] for column in columns] for chunk, places in known]
        models, prompts, *values = map(np.concatenate, zip(*parts, strict=True))
        pairs, pair_of = np.unique(models.astype(np.int64) << 32 | prompts, return_inverse=True)
        found = []
        for entry, of_entry in zip(names.entries, values, strict=True):
            scored = ~np.isnan(of_entry)
            counts = np.bincount(pair_of[scored], minlength=len(pairs))
            totals = np.bincount(pair_of[scored], of_entry[scored], minlength=len(pairs))
            for model, number in names.models.items():
                chosen = (pairs >> 32 == number) & (counts > 0)
                if chosen.any():
                    means = totals[chosen] / counts[chosen]
                    found.append(Interval(model, entry, len(means), *_interval(means)))
        return found

    return index.read(answer)


def _interval(means: Numbers) -> tuple[float, float, float]:
    """Return the mean of prompts' means, and its 95% interval."""
    mean = float(means.mean())
    half = _Z * float(means.std()) / math.sqrt(max(len(means) - 1, 1))
    return mean, mean - half, mean + half
