"""Keep the rollouts' numbers by column, in chunks of lines, so that a filter reads only the columns that it needs."""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Sequence
from itertools import groupby
from typing import Any

CHUNK = 8192
"""The lines of a chunk. The last chunk of a stage is written again when the stage grows."""

MISSING = -(2**63)
"""The group of a rollout that has none."""

COLUMNS = {
    "step": ("q", 0),
    "grp": ("q", MISSING),
    "model": ("i", 0),
    "prompt": ("i", 0),
    "task": ("i", 0),
    "reward": ("d", math.nan),
    "advantage": ("d", math.nan),
    "length": ("q", 0),
    "latency": ("d", 0.0),
    "outcomes": ("i", 0),
    "completion": ("q", 0),
    "prompt_digest": ("q", 0),
}
"""The type of each column in the words of ``array``, and what it has where a number is missing.

A line without a rollout has 0 as its prompt, and no rollout has.
"""


def column_kind(name: str) -> tuple[str, Any]:
    """Return the type of a column, and what it has where a number is missing; entries have two columns each."""
    if name.startswith("value_"):
        return "d", math.nan
    return ("b", -1) if name.startswith("outcome_") else COLUMNS[name]


def append(
    db: sqlite3.Connection,
    stage: int,
    lines: Sequence[int],
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Add rollouts to the columns of a stage.

    Args:
        db: The index.
        stage: The stage's number.
        lines: The rollouts' lines, counted from 1, each larger than the one before and than those in the index.
        names: The columns' names.
        rows: The rollouts' numbers, by column.
    """
    for chunk, places in groupby(range(len(lines)), key=lambda place: (lines[place] - 1) // CHUNK):
        chosen = list(places)
        first = chunk * CHUNK + 1
        for column, name in enumerate(names):
            kind, missing = column_kind(name)
            known = db.execute(
                "select data from columns where stage = ? and chunk = ? and name = ?", [stage, chunk, name]
            ).fetchone()
            numbers = array(kind, known[0] if known else b"")
            for place in chosen:
                line = lines[place] - first
                if len(numbers) < line:  # lines without a rollout, or from before the entry's first verdict
                    numbers.extend([missing] * (line - len(numbers)))
                number = rows[place][column]
                numbers.append(missing if number is None else number)
            db.execute(
                "insert or replace into columns values(?, ?, ?, ?)", [stage, chunk, name, numbers.tobytes()]
            )
