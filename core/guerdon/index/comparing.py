"""Compare two sides of runs on the prompts, or on the completions, that both have."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guerdon.index.conditions import conditions
from guerdon.index.filters import Filters
from guerdon.index.rows import Found, Names, read_rows
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

    def answer(db: sqlite3.Connection) -> Comparison:
        db.execute("attach ? as other", [str(second.index.path)])
        one, one_given = _means(db, first, "main", by)
        two, two_given = _means(db, second, "other", by)
        completion = ", completion" if by == "completion" else ""
        db.execute(
            "create temp table pairs as select digest, one.mean as a, two.mean as b, one.count as m, two.count as n, "
            f"one.id as first_id, two.id as second_id from ({one}) as one join ({two}) as two "
            f"using (digest{completion})",
            [*one_given, *two_given],
        )
        return _summary(db, threshold, size)

    second.index.read(Names.read)  # creates it if it was lost
    return first.index.read(answer)


def _summary(db: sqlite3.Connection, threshold: float, size: int) -> Comparison:
    count, better, worse, up, down, first_mean, second_mean = db.execute(
        "select count(*), ifnull(sum(b > a), 0), ifnull(sum(b < a), 0), ifnull(sum(a < ? and b >= ?), 0), "
        "ifnull(sum(a >= ? and b < ?), 0), avg(a), avg(b) from pairs",
        [threshold] * 4,
    ).fetchone()
    chosen = db.execute(
        "select digest, a, b, m, n, first_id, second_id, (b >= ?) - (a >= ?) as flip from pairs where a != b "
        "order by flip = 0, abs(b - a) desc, digest, first_id limit ?",
        [threshold, threshold, size],
    ).fetchall()
    left = read_rows(db, Names.read(db), [row[5] for row in chosen])
    right = read_rows(db, Names.read(db, "other"), [row[6] for row in chosen], "other")
    pairs = [
        Pair(one.prompt, digest.hex(), (a, b), (m, n), (one, two), flip)
        for (digest, a, b, m, n, _, _, flip), one, two in zip(chosen, left, right, strict=True)
    ]
    return Comparison(count, better, worse, up, down, (first_mean, second_mean), pairs)


def _means(db: sqlite3.Connection, side: Side, schema: str, by: By) -> tuple[str, list[Any]]:
    """Return a query for the mean of each prompt or completion of a side, with its parameters."""
    names = Names.read(db, schema)
    condition, given = conditions(names, side.filters, schema)
    number = names.entries.get(side.measure)
    column = "reward" if side.measure == "reward" else f"value_{number}" if number else "null"
    keys = "prompt, completion" if by == "completion" else "prompt"
    return (
        f"select digest, g.* from (select {keys}, avg({column}) as mean, count({column}) as count, min(id) as id "
        f"from {schema}.rollouts where {condition} and {column} is not null group by {keys}) as g "
        f"join {schema}.prompts using (prompt)",
        given,
    )
