"""Select the groups of a step."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from guerdon.index.conditions import conditions
from guerdon.index.filters import Filters
from guerdon.index.rows import Found, Names, read_rows
from guerdon.index.store import LINES, RunIndex


def groups_of(index: RunIndex, stage: str, step: int) -> list[tuple[int | None, str]]:
    """Return the groups of a step, each with its model; a group is ``None`` where rollouts have none."""

    def answer(db: sqlite3.Connection) -> list[tuple[int | None, str]]:
        names = Names.read(db)
        models = {number: name for name, number in names.models.items()}
        condition, given = conditions(names, Filters(stage=stage, step_min=step, step_max=step))
        query = f"select grp, model from rollouts where {condition} group by grp, model order by min(id)"
        return [(group, models.get(model, "")) for group, model in db.execute(query, given)]

    return index.read(answer)


GROUP_SHOWN = 512
"""The most rollouts of one group that are shown."""


def find_group(index: RunIndex, stage: str, step: int, group: int | None, model: str) -> list[Found]:
    """Return the rollouts of one group of a step, or of one prompt of an evaluated model."""
    filters = Filters(stage=stage, step_min=step, step_max=step, group=group, model=model)

    def answer(db: sqlite3.Connection) -> list[Found]:
        names = Names.read(db)
        condition, given = conditions(names, filters)
        ids = db.execute(
            f"select id from rollouts where {condition} order by id limit ?", [*given, GROUP_SHOWN]
        )
        return read_rows(db, names, [ident for (ident,) in ids])

    return index.read(answer)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The groups beside a group, as pairs of step and group."""

    before: tuple[int, int] | None
    after: tuple[int, int] | None


def neighbours(index: RunIndex, stage: str, step: int, group: int) -> Neighbours:
    """Return the groups of a stage beside one of its groups."""

    def answer(db: sqlite3.Connection) -> Neighbours:
        first = Names.read(db).stages.get(stage, -1) * LINES
        beside = []
        for sign, direction in (("<", "desc"), (">", "asc")):
            row = db.execute(
                f"select step, grp from rollouts indexed by by_step where (step, grp) {sign} (?, ?) "
                "and id between ? and ? and grp is not null "
                f"order by step {direction}, grp {direction} limit 1",
                [step, group, first, first + LINES - 1],
            ).fetchone()
            beside.append(None if row is None else (row[0], row[1]))
        return Neighbours(*beside)

    return index.read(answer)
