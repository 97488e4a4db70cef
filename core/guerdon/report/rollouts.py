"""Choose the rollouts that a page shows, and read each when it is shown, so that memory does not grow with a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerdon.index import Filters, RunIndex
from guerdon.index.groups import groups_of
from guerdon.index.metrics import steps_of
from guerdon.index.paging import count, find, walk
from guerdon.index.rows import Found, read_records

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt in one step, or of a step without groups."""

    title: str
    count: int
    records: Iterator[Record]


def samples(index: RunIndex, stage: str, steps: int) -> Iterator[Record]:
    """Yield the rollouts with the highest and the lowest reward of some steps.

    The steps are the first, the last and some between.
    """
    for step in steps_of(index, stage, steps):
        of_step = Filters(stage=stage, step_min=step, step_max=step, sort="reward", size=1)
        ends = [*_extreme(index, of_step, descending=True), *_extreme(index, of_step, descending=False)]
        yield from _records(index, {row.id: row for row in ends if row.reward is not None}.values())


def _extreme(index: RunIndex, filters: Filters, descending: bool) -> Sequence[Found]:
    return find(index, replace(filters, descending=descending)).rows


def groups(index: RunIndex, stage: str, steps: Sequence[int]) -> Iterator[Group]:
    """Yield every group of some steps of a stage."""
    for step in steps:
        for number, model in groups_of(index, stage, step):
            where = f"of {model}" if model else f"of step {step}"
            title = f"Rollouts {where}" if number is None else f"Group {number} {where}"
            chosen = Filters(stage=stage, step_min=step, step_max=step, group=number, model=model)
            yield Group(title, count(index, chosen), _records(index, walk(index, chosen)))


def _records(index: RunIndex, rows: Iterable[Found]) -> Iterator[Record]:
    for row in rows:
        yield from read_records(index, [row])
