"""Choose the rollouts that a page shows, and read each when it is shown, so that memory does not grow with a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.index import RunIndex
from guerdon.index.groups import extremes, groups_of, walk_group
from guerdon.index.metrics import steps_of
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
        yield from _records(index, extremes(index, stage, step))


def groups(index: RunIndex, stage: str, steps: Sequence[int]) -> Iterator[Group]:
    """Yield every group of some steps of a stage."""
    for step in steps:
        for number, model, count in groups_of(index, stage, step):
            where = f"of {model}" if model else f"of step {step}"
            title = f"Rollouts {where}" if number is None else f"Group {number} {where}"
            yield Group(title, count, _records(index, walk_group(index, stage, step, number, model)))


def _records(index: RunIndex, rows: Iterable[Found]) -> Iterator[Record]:
    for row in rows:
        yield from read_records(index, [row])
