"""Gather what each page shows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any
from urllib.parse import quote, urlencode

from guerdon.errors import UsageError
from guerdon.index.filters import SIZES, Filters
from guerdon.index.records import SEARCHED, prompt_text
from guerdon.index.selecting import (
    EXCERPT_BYTES,
    Found,
    Names,
    Page,
    find,
    find_group,
    find_line,
    neighbours,
    read_records,
)
from guerdon.index.summing import (
    Attempt,
    Side,
    compare,
    entry_health,
    evaluation,
    generated_tokens,
    last_metric,
    metric_names,
    overview,
    prompt_history,
    rollout_curves,
)
from guerdon.report.formatting import turns
from guerdon.report.reading import RunRecord, Status, run_status
from guerdon.types import Failure, Outcome
from guerdon.view.figures import curve_sections, figure, histogram_figures, overview_figures
from guerdon.view.runs import ViewedRun

Context = dict[str, Any]
Query = Mapping[str, str]

_EXCERPT = 220

GROUP_BYTES = 64 * 2**20
"""The most bytes of a group that are read at once. Rollouts with more than their share are shown alone."""


class NotFoundError(UsageError):
    """A page's address names something that is not there."""


def address(run: ViewedRun, *parts: object, **query: object) -> str:
    """Return the address of a page of a run."""
    path = "/".join(quote(str(part), safe="") for part in parts)
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"/runs/{quote(run.key, safe='')}/{path}" + (f"?{urlencode(given)}" if given else "")


def list_runs(runs: Mapping[str, ViewedRun]) -> Context:
    """Return what the list of runs shows."""
    return {"title": "Runs", "rows": [_run_row(run) for run in runs.values()]}


def _run_row(run: ViewedRun) -> Context:
    record = run.record()
    known = overview(run.index)
    active = [stage for stage in record.stages if stage.status is not Status.WAITING]
    last = next((stage for stage in reversed(active) if stage.id in known.steps), None)
    curve = rollout_curves(run.index, last.id, "reward").get("reward", []) if last else []
    return {
        "key": run.key,
        "status": run_status(record),
        "stage": last.id if last else "",
        "step": known.steps[last.id][1] if last else None,
        "reward": curve[-1][1] if curve else None,
        "rollouts": sum(known.rollouts.values()),
        "started": record.started.strftime("%Y-%m-%d %H:%M") if record.started else "",
    }


def show_overview(run: ViewedRun) -> Context:
    """Return what the overview shows."""
    record = run.record()
    known = overview(run.index)
    return {
        "title": "Overview",
        "run": record,
        "rollouts": sum(known.rollouts.values()),
        "unreadable": known.unreadable + record.unreadable_lines,
        "tokens": {stage.id: _tokens(run, stage.id) for stage in record.stages},
        "link": lambda stage: address(run, "rollouts", stage=stage),
        "evaluations": _evaluations(run, known.names),
        "figures": overview_figures(run),
    }


def _tokens(run: ViewedRun, stage: str) -> int | None:
    """Return the number of trained tokens if the stage counts them, else of generated tokens."""
    counted = last_metric(run.index, stage, "num_tokens")
    return int(counted) if counted else generated_tokens(run.index, stage) or None


def _evaluations(run: ViewedRun, names: Names) -> dict[str, list[Context]]:
    found = {}
    for stage in names.stages:
        rows = [
            {
                "model": one.model,
                "verifier": one.entry,
                "prompts": one.prompts,
                "mean": one.mean,
                "from": one.low,
                "to": one.high,
            }
            for one in evaluation(run.index, stage)
        ]
        if rows:
            found[stage] = rows
    return found


def show_curves(run: ViewedRun, runs: Mapping[str, ViewedRun], query: Query) -> Context:
    """Return what the page of curves shows."""
    events = run.record()
    stages = [stage.id for stage in events.stages]
    known = [stage for stage in stages if stage in metric_names(run.index)] or stages
    stage = query.get("stage") or known[-1]
    wanted = query.get("with", "")
    others = [key for key in runs if key != run.key and wanted in (key, "*")]
    by_task, raw, name = query.get("task") == "1", query.get("raw") == "1", query.get("name", "").strip()
    laid = [run, *(runs[key] for key in others)]
    return {
        "title": "Curves",
        "stages": stages,
        "stage": stage,
        "others": others,
        "everyone": wanted == "*",
        "by_task": by_task,
        "raw": raw,
        "name": name,
        "sections": curve_sections(laid, stage, name, by_task, not raw),
    }


def show_rollouts(run: ViewedRun, query: Query) -> Context:
    """Return what the table of rollouts shows."""
    names = overview(run.index).names
    filters, page, problem = Filters(), Page([], "", ""), ""
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
        "query": filters.query,
        "page": page,
        "total": None,
        "problem": problem,
        "excerpts": [_excerpt(row, record) for row, record in zip(page.rows, records, strict=True)],
        "group_link": lambda row: _group_address(run, row),
        "outcomes": list(Outcome),
        "failures": list(Failure),
        "sizes": SIZES,
        "searched": SEARCHED,
    }


def _excerpt(row: Found, record: Mapping[str, Any]) -> str:
    if not record:
        return f"({row.bytes / 2**20:.1f} MiB)" if row.bytes > EXCERPT_BYTES else ""
    text = prompt_text(record.get("completion", ""))
    # the end, where the answer is
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
    beside = (
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
        "before": link(beside.before) if beside else "",
        "after": link(beside.after) if beside else "",
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


def show_rewards(run: ViewedRun) -> Context:
    """Return what the page of rewards shows."""
    return {"title": "Rewards", "charts": histogram_figures(run)}


def show_verifiers(run: ViewedRun) -> Context:
    """Return what the page of verifiers shows."""
    rows = sorted(entry_health(run.index), key=lambda one: (-one.failed / one.count, -(one.p95_ms or 0)))
    return {"title": "Verifiers", "rows": rows}


def show_comparison(run: ViewedRun, runs: Mapping[str, ViewedRun], query: Query) -> Context:
    """Return what the comparison of two sides shows."""
    other = next((key for key in runs if key != run.key), run.key)
    context: Context = {"title": "Compare", "problem": "", "found": None, "threshold": 0.5, "links": ["", ""]}
    sides = [_side(runs, query, name, key) for name, key in (("a", run.key), ("b", other))]
    context["sides"] = [given for given, _ in sides]
    try:
        context["threshold"] = Filters.of({"value_min": query.get("threshold", "") or "0.5"}).value_min
        chosen = [
            Side(
                runs[given["run"]].index,
                Filters.of({**terms, "stage": given["stage"], "model": given["model"]}),
                given["measure"],
            )
            for given, terms in sides
        ]
        if "a_run" in query or len(runs) > 1:
            context["found"] = compare(chosen[0], chosen[1], context["threshold"])
            context["links"] = [
                f"{address(runs[given['run']], 'rollouts')}?{side.filters.query()}"
                for (given, _), side in zip(sides, chosen, strict=True)
            ]
    except UsageError as error:
        context["problem"] = str(error)
    return context


def _side(
    runs: Mapping[str, ViewedRun], query: Query, name: str, default: str
) -> tuple[Context, dict[str, str]]:
    """Return one side as the form has it, and its steps as a query."""
    key = query.get(f"{name}_run", default)
    key = key if key in runs else default
    names = overview(runs[key].index).names
    stages = list(names.stages)
    stage = query.get(f"{name}_stage", "")
    steps = {end: query.get(f"{name}_{end}", "") for end in ("step_min", "step_max")}
    given = {
        "run": key,
        "stages": stages,
        "stage": stage if stage in stages else (stages[-1] if stages else ""),
        "models": list(names.models),
        "model": query.get(f"{name}_model", ""),
        "entries": list(names.entries),
        "measure": query.get(f"{name}_measure", "reward"),
        **{end: text or None for end, text in steps.items()},
    }
    return given, steps


def show_manifest(run: ViewedRun, runs: Mapping[str, ViewedRun], query: Query) -> Context:
    """Return what the page of the manifest shows."""
    record = run.record()
    against = query.get("against", "")
    differences = None
    if against in runs and against != run.key:
        differences = list(_differences(runs[against].record(), record))
    return {"title": "Manifest", "run": record, "against": against, "differences": differences}


def _differences(old: RunRecord, new: RunRecord) -> list[tuple[str, str]]:
    """Return the lines of two runs' manifests, versions and plugins that differ, with lines around them."""
    before, after = (
        json.dumps(
            {"manifest": one.manifest, "versions": one.versions, "plugins": one.plugins},
            indent=2,
            ensure_ascii=False,
        ).splitlines()
        for one in (old, new)
    )
    lines = difflib.unified_diff(before, after, n=3, lineterm="")
    kinds = {"+": "added", "-": "removed"}
    return [(kinds.get(line[0], ""), line[1:]) for line in lines if not line.startswith(("+++", "---", "@@"))]


PAGES: Mapping[str, Callable[[ViewedRun, Query], Context]] = {
    "rollouts": show_rollouts,
    "group": show_group,
    "rewards": lambda run, _: show_rewards(run),
    "verifiers": lambda run, _: show_verifiers(run),
}
"""The pages of one run by their place, each with the template of its name."""

PAGES_OF_RUNS: Mapping[str, Callable[[ViewedRun, Mapping[str, ViewedRun], Query], Context]] = {
    "curves": show_curves,
    "compare": show_comparison,
    "manifest": show_manifest,
}
"""The pages that also know the other runs."""
