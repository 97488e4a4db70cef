"""Read what a run has logged from its index: events, metrics, and which steps have rollouts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from guerdon.data.json_values import parse_object
from guerdon.index.building import LENGTH
from guerdon.index.rows import Names
from guerdon.index.store import RunIndex
from guerdon.run.log import RunEvents, fold_events

Curve = Sequence[tuple[float, float]]
"""Steps and values."""


def run_events(index: RunIndex) -> RunEvents:
    """Return the run's events; a stage has its last step, with the last value of each metric."""

    def answer(db: sqlite3.Connection) -> RunEvents:
        lines = db.execute("select line from events order by place")
        events = (event for (line,) in lines if (event := parse_object(line)) is not None)
        return fold_events(events, every_step=False)

    return index.read(answer)


def metric_names(index: RunIndex) -> dict[str, list[str]]:
    """Return the names of the metrics of each stage."""

    def answer(db: sqlite3.Connection) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        row = db.execute("select stage, name from metrics order by stage, name limit 1").fetchone()
        while row is not None:  # skips from name to name, whatever the number of steps
            names.setdefault(row[0], []).append(row[1])
            row = db.execute(
                "select stage, name from metrics where (stage, name) > (?, ?) order by stage, name limit 1",
                row,
            ).fetchone()
        return names

    return index.read(answer)


MOST_POINTS = 400
"""A curve has at most about this many points; each is the mean over some steps."""


def metric_curve(index: RunIndex, stage: str, name: str) -> Curve:
    """Return one metric of a stage over its steps, with the mean of some steps where there are many."""

    def answer(db: sqlite3.Connection) -> Curve:
        where = "from metrics where stage = ? and name = ?"
        count, first, last = db.execute(
            f"select count(*), min(step), max(step) {where}", [stage, name]
        ).fetchone()
        if not count:
            return []
        width = 1 if count <= MOST_POINTS else -(-(last - first + 1) // MOST_POINTS)
        query = f"select max(step), avg(value) {where} group by (step - ?) / ? order by 1"
        return db.execute(query, [stage, name, first, width]).fetchall()

    return index.read(answer)


def stage_tokens(index: RunIndex, stage: str) -> int | None:
    """Return the number of trained tokens if the stage counts them, else of generated tokens; ``None`` for none."""

    def answer(db: sqlite3.Connection) -> int | None:
        query = "select value from metrics where stage = ? and name = 'num_tokens' order by step desc limit 1"
        trained = db.execute(query, [stage]).fetchone()
        if trained is not None and trained[0]:
            return int(trained[0])
        query = "select sum(total) from sums where stage = ? and entry = ?"
        generated = db.execute(query, [Names.read(db).stages.get(stage, -1), LENGTH]).fetchone()[0]
        return int(generated) if generated else None

    return index.read(answer)


def steps_of(index: RunIndex, stage: str, most: int) -> list[int]:
    """Return steps that have rollouts: all, or the first, the last and some between.

    Args:
        index: The index.
        stage: The stage's id.
        most: The most steps, 2 or more.
    """

    def answer(db: sqlite3.Connection) -> list[int]:
        number = Names.read(db).stages.get(stage, -1)
        query = "select distinct step from sums where stage = ? order by step"
        count = db.execute(f"select count(*) from ({query})", [number]).fetchone()[0]
        places = (
            [round(place * (count - 1) / (most - 1)) for place in range(most)]
            if count > most
            else range(count)
        )
        found = (db.execute(f"{query} limit 1 offset ?", [number, place]).fetchone() for place in places)
        return [step for (step,) in found]

    return index.read(answer)
