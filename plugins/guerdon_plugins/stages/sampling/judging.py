"""Judge completions while others are generated, on each machine of a launch those of its processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from guerdon.files import replaced
from guerdon.rubric import Rubric
from guerdon.rubric.early import EarlyJudge, early_names
from guerdon.stage import Launch

__all__ = ["judging_beside"]

_Item = TypeVar("_Item")


@contextmanager
def judging_beside(
    rubric: Rubric, launch: Launch, answers: Path, judge: Callable[[Sequence[_Item]], object], group_size: int
) -> Iterator[EarlyJudge[_Item] | None]:
    """Yield what judges completions early, or nothing if this process does not.

    In a launch of several processes, each judges its own, and all wait at the end of the block. The first process's
    rubric then has the answers of all, so its call with all completions asks only for what early calls do not.

    Args:
        rubric: The rubric.
        launch: The processes. All of them enter the block at the same time.
        answers: A file for the answers of other machines, in a folder that all processes see. It is deleted when they
            are read.
        judge: Judges items by an early call of :meth:`guerdon.rubric.Rubric.score`.
        group_size: The number of a prompt's completions, which a group reward judges together.
    """
    together = launch.count > 1 and getattr(rubric, "shares_workers", False)
    if not early_names(rubric) or not (launch.first or together):
        yield None
        return
    with EarlyJudge(judge, group_size if rubric.compares_groups else 1, finish=together) as judging:
        yield judging
    if together:
        _gather(rubric, launch, answers)


def _gather(rubric: Rubric, launch: Launch, answers: Path) -> None:
    """Add the answers of all machines to the first process's rubric."""

    def file_of(rank: int) -> Path:
        return answers.with_name(f"{answers.name}.rank{rank}")

    launch.exchange("")  # every early call has ended
    known = {} if launch.first else rubric.take_early()
    if known:
        with replaced(file_of(launch.rank)) as partial:
            partial.write_text(json.dumps(known), encoding="utf-8")
    written = launch.exchange("written" if known else "")
    for rank in [rank for rank, one in enumerate(written) if one] if launch.first else []:
        rubric.add_early(json.loads(file_of(rank).read_text(encoding="utf-8")))
        file_of(rank).unlink()
