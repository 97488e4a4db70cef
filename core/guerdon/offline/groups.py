"""Judge the rows of a file in order; where a rubric compares completions, whole groups of one prompt together."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from guerdon.files import CHUNK_ROWS, Located
from guerdon.offline.columns import checked_rollout
from guerdon.rubric import Rubric
from guerdon.types import Judgement, Rollout

__all__ = ["judged_rows"]

Judged = tuple[Located, Rollout, Sequence[Judgement]]
"""A row, its rollout, and each rubric's judgement of it."""

_RECORDED = ("step", "model", "group")
"""The columns of a run's ``rollouts.jsonl`` that, with the prompt, name a group."""


def judged_rows(
    rows: Iterator[Located], renames: Mapping[str, str], rubrics: Sequence[Rubric]
) -> Iterator[list[Judged]]:
    """Yield the rows with their judgements, in order, in chunks.

    A rubric with group rewards gets the rows of one prompt together, wherever they are in the file. All rows are then
    in memory.

    Raises:
        DataError: A row lacks a column that a rubric needs.
    """
    grouped = any(rubric.compares_groups for rubric in rubrics)
    while chunk := list(rows if grouped else islice(rows, CHUNK_ROWS)):
        rollouts = [checked_rollout(where, row, renames, *rubrics) for where, row in chunk]
        groups = [_group(row, rollout) for (_, row), rollout in zip(chunk, rollouts, strict=True)]
        results: list[list[Judgement]] = [[] for _ in chunk]
        for part in _parts(groups) if grouped else [range(len(chunk))]:
            for rubric in rubrics:
                judgements = rubric.score(
                    [rollouts[index] for index in part], groups=[groups[index] for index in part]
                )
                for index, judgement in zip(part, judgements, strict=True):
                    results[index].append(judgement)
        judged = list(zip(chunk, rollouts, results, strict=True))
        for start in range(0, len(judged), CHUNK_ROWS):
            yield list(judged[start : start + CHUNK_ROWS])


def _group(row: Mapping[str, Any], rollout: Rollout) -> Hashable:
    recorded = [row.get(name) for name in _RECORDED]
    return json.dumps([rollout.prompt, recorded], sort_keys=True, default=str)


def _parts(groups: Sequence[Hashable]) -> Iterator[list[int]]:
    """Yield the rows' numbers in parts that hold whole groups, each of about a chunk."""
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    part: list[int] = []
    for numbers in members.values():
        part += numbers
        if len(part) >= CHUNK_ROWS:
            yield part
            part = []
    if part:
        yield part
