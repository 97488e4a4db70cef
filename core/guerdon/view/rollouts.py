"""Gather what the pages of rollouts show: the table, a group, one rollout, one prompt over the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from guerdon.errors import UsageError
from guerdon.index.filters import SIZES, Filters
from guerdon.index.groups import find_group, neighbours
from guerdon.index.paging import Page, find
from guerdon.index.records import SEARCHED, prompt_text
from guerdon.index.rows import EXCERPT_BYTES, Found, find_line, read_records
from guerdon.index.summing import Attempt, overview, prompt_history
from guerdon.report.formatting import turns
from guerdon.types import Failure, Outcome
from guerdon.view.addresses import Context, NotFoundError, Query, address
from guerdon.view.figures import figure
from guerdon.view.runs import ViewedRun

_EXCERPT = 220

GROUP_BYTES = 64 * 2**20
"""The most bytes of a group that are read at once. Rollouts with more than their share are shown alone."""


_LABELS = {
    "stage": "stage",
    "step_min": "step from",
    "step_max": "step to",
    "group": "group",
    "model": "model",
    "task": "task",
    "prompt": "prompt",
    "prompt_text": "words of the prompt",
    "text": "words of the completion",
    "entry": "verifier",
    "outcome": "outcome",
    "failure": "failure",
    "value_min": "verifier's value from",
    "value_max": "verifier's value to",
    "reward_min": "reward from",
    "reward_max": "reward to",
    "unscored": "without a reward",
    "length_min": "length from",
    "length_max": "length to",
}
"""What pages call the filters."""


def show_rollouts(run: ViewedRun, query: Query) -> Context:
    """Return what the table of rollouts shows."""
    names = overview(run.index).names
    filters, page, problem = Filters(), Page([], "", "", 0), ""
    try:
        filters = Filters.of(query)
        page = find(run.index, filters)
    except UsageError as error:
        problem = str(error)
    records = read_records(run.index, page.rows, EXCERPT_BYTES)
    return {
        "title": "Rollouts",
        "names": names,
        "with_models": any(row.model for row in page.rows),
        "with_tasks": any(row.task for row in page.rows),
        "entries": list(dict.fromkeys(name for row in page.rows for name in row.verdicts)),
        "filters": asdict(filters),
        "cleared": {field.name: field.default for field in fields(Filters)},
        "active": filters.active(),
        "labels": _LABELS,
        "query": filters.query,
        "page": page,
        "problem": problem,
        "excerpts": [excerpt(row, record) for row, record in zip(page.rows, records, strict=True)],
        "group_link": lambda row: _group_address(run, row),
        "outcomes": list(Outcome),
        "failures": list(Failure),
        "sizes": SIZES,
        "searched": SEARCHED,
    }


def excerpt(row: Found, record: Mapping[str, Any]) -> str:
    """Return the end of a completion, where the answer is."""
    if not record:
        return f"({row.bytes / 2**20:.1f} MiB)" if row.bytes > EXCERPT_BYTES else ""
    text = prompt_text(record.get("completion", ""))
    return text if len(text) <= _EXCERPT else f"… {text[-_EXCERPT + 2 :]}"


def _group_address(run: ViewedRun, row: Found | Attempt) -> str:
    return address(run, "group", stage=row.stage, step=row.step, group=row.group, model=row.model)


def show_group(run: ViewedRun, query: Query) -> Context:
    """Return what the page of one group shows.

    Raises:
        NotFoundError: The address does not name a group.
    """
    filters = Filters.of({**query, "step_min": query.get("step", "")})
    if filters.step_min is None or not filters.stage:
        raise NotFoundError("the address of a group names its stage and step.")
    step, group = filters.step_min, filters.group
    rows = find_group(run.index, filters.stage, step, group, filters.model)
    adjacent = (
        neighbours(run.index, filters.stage, step, group) if group is not None and not filters.model else None
    )

    def link(place: tuple[int, int] | None) -> str:
        if place is None:
            return ""
        return address(run, "group", stage=filters.stage, step=place[0], group=place[1])

    where = f"of {filters.model}" if filters.model else f"of step {step}"
    return {
        **_detail(run, rows),
        "title": f"Group {group} {where}",
        "heading": f"{filters.stage}: group {group} {where}",
        "before": link(adjacent.before) if adjacent else "",
        "after": link(adjacent.after) if adjacent else "",
    }


def show_rollout(run: ViewedRun, stage: str, line: int) -> Context:
    """Return what the page of one rollout shows.

    Raises:
        NotFoundError: There is no such rollout.
    """
    row = find_line(run.index, stage, line)
    if row is None:
        raise NotFoundError(f"stage '{stage}' has no rollout on line {line} of its log.")
    context = _detail(run, [row])
    group = _group_address(run, row) if row.group is not None else ""
    lines = {"before": line - 1, "after": line + 1}
    links = {
        name: address(run, "rollout", stage, number) if find_line(run.index, stage, number) else ""
        for name, number in lines.items()
    }
    where = f"of {row.model}" if row.model else f"of step {row.step}"
    return {
        **context,
        **links,
        "title": f"{stage}:{line}",
        "heading": f"{stage}: rollout {line} {where}",
        "whole": group,
    }


_SHOWN_KEYS = ("prompt", "completion", "scores", "reward", "advantage", "step", "group")


def _detail(run: ViewedRun, rows: Sequence[Found]) -> Context:
    most_bytes = GROUP_BYTES // max(1, len(rows)) if len(rows) > 1 else None
    records = read_records(run.index, rows, most_bytes)
    rewards = [row.reward for row in rows if row.reward is not None]

    def rest(record: Mapping[str, Any]) -> Context:
        return {name: value for name, value in record.items() if name not in _SHOWN_KEYS}

    return {
        "rows": rows,
        "records": records,
        "rest": rest,
        "most_bytes": most_bytes,
        "more": lambda row, part: address(run, "text", row.stage, row.line, part),
        "mean": sum(rewards) / len(rewards) if rewards else None,
        "least": min(rewards, default=None),
        "most": max(rewards, default=None),
        "whole": "",
    }


def whole_text(run: ViewedRun, stage: str, line: int, part: str) -> str:
    """Return all of a part of a rollout as plain text.

    Raises:
        NotFoundError: There is no such rollout, or it has no such part.
    """
    row = find_line(run.index, stage, line)
    record = read_records(run.index, [row])[0] if row else {}
    value: Any = record if part == "record" else record.get(part)
    if not record or value is None:
        raise NotFoundError(f"stage '{stage}' has no {part} on line {line} of its log.")
    if isinstance(value, str):
        return value
    if part in ("prompt", "completion"):
        return "\n\n".join(f"[{turn['role']}]\n{turn['reasoning']}{turn['text']}" for turn in turns(value))
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_prompt(run: ViewedRun, digest: str) -> Context:
    """Return what the page of one prompt shows."""
    digest = Filters.of({"prompt": digest}).prompt
    text, attempts = prompt_history(run.index, digest)
    curves: dict[str, list[tuple[float, float]]] = {}
    for one in attempts:
        if one.mean is not None:
            curves.setdefault(one.stage, []).append((one.step, one.mean))
    long_enough = {stage: curve for stage, curve in curves.items() if len(curve) > 1}
    return {
        "title": "Prompt",
        "digest": digest,
        "text": text,
        "attempts": attempts,
        "charts": [figure("mean reward", long_enough)] if long_enough else [],
        "group_link": lambda one: _group_address(run, one),
    }
