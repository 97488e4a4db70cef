"""Select the groups of a step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from guerdon.index.rows import Found, Names, read_rows
from guerdon.index.store import LINES, RunIndex


def groups_of(index: RunIndex, stage: str, step: int) -> list[tuple[int | None, str, int]]:
    """Return the groups of a step, each with its model and size; a group is ``None`` where rollouts have none."""

    def answer(db: sqlite3.Connection) -> list[tuple[int | None, str, int]]:
        names = Names.read(db)
        models = {number: name for name, number in names.models.items()}
        of_step, given = _of_step(names, stage, step)
        query = f"select grp, model, count(*) from {of_step} group by grp, model order by min(id)"
        return [(group, models.get(model, ""), count) for group, model, count in db.execute(query, given)]

    return index.read(answer)


def _of_step(names: Names, stage: str, step: int) -> tuple[str, list[Any]]:
    """Return the rollouts of a step as the end of a query, with its parameters."""
    first = names.stages.get(stage, -1) * LINES
    # "+" leaves the choice to the index of steps, which finds fewer rollouts than the stage has
    return "rollouts where step = ? and +id between ? and ?", [step, first, first + LINES - 1]


GROUP_SHOWN = 512
"""The most rollouts of one group that are shown."""


def find_group(
    index: RunIndex, stage: str, step: int, group: int | None, model: str, after: int = 0
) -> list[Found]:
    """Return the first rollouts of one group of a step, or of one prompt of an evaluated model.

    Args:
        index: The index.
        stage: The stage's id.
        step: The step.
        group: The group; ``None`` for all.
        model: The model; empty for all.
        after: The id of a rollout. Only those after it are returned.
    """

    def answer(db: sqlite3.Connection) -> list[Found]:
        names = Names.read(db)
        of_step, given = _of_step(names, stage, step)
        wanted = (("grp", group), ("model", names.models.get(model, -1) if model else None))
        for column, number in wanted:
            if number is not None:
                of_step, given = f"{of_step} and {column} = ?", [*given, number]
        query = f"select id from {of_step} and id > ? order by id limit ?"
        return read_rows(db, names, [ident for (ident,) in db.execute(query, [*given, after, GROUP_SHOWN])])

    return index.read(answer)


def walk_group(index: RunIndex, stage: str, step: int, group: int | None, model: str) -> Iterator[Found]:
    """Yield all rollouts of a group, some at a time."""
    after = 0
    while rows := find_group(index, stage, step, group, model, after):
        yield from rows
        after = rows[-1].id


def extremes(index: RunIndex, stage: str, step: int) -> list[Found]:
    """Return the rollouts with the highest and the lowest reward of a step; one if they are the same."""

    def answer(db: sqlite3.Connection) -> list[Found]:
        names = Names.read(db)
        of_step, given = _of_step(names, stage, step)
        query = f"select id from {of_step} and reward is not null order by reward"
        ends = [db.execute(f"{query} {way}, id {way} limit 1", given).fetchone() for way in ("desc", "asc")]
        return read_rows(db, names, list(dict.fromkeys(row[0] for row in ends if row)))

    return index.read(answer)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The groups before and after a group, as pairs of step and group."""

    before: tuple[int, int] | None
    after: tuple[int, int] | None


def neighbours(index: RunIndex, stage: str, step: int, group: int) -> Neighbours:
    """Return the groups of a stage before and after one of its groups."""

    def answer(db: sqlite3.Connection) -> Neighbours:
        first = Names.read(db).stages.get(stage, -1) * LINES
        neighbours = []
        for sign, direction in (("<", "desc"), (">", "asc")):
            row = db.execute(
                f"select step, grp from rollouts indexed by by_step where (step, grp) {sign} (?, ?) "
                "and id between ? and ? and grp is not null "
                f"order by step {direction}, grp {direction} limit 1",
                [step, group, first, first + LINES - 1],
            ).fetchone()
            neighbours.append(None if row is None else (row[0], row[1]))
        return Neighbours(*neighbours)

    return index.read(answer)
