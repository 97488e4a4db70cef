"""Gather what each page on a run shows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping

from guerdon.index.evaluating import evaluation
from guerdon.index.metrics import metric_names, stage_tokens
from guerdon.index.summing import entry_health, overview
from guerdon.report.reading import RunRecord, current_stage, last_reward, run_status
from guerdon.view.addresses import Context, NotFoundError, Query, address
from guerdon.view.comparison import show_comparison
from guerdon.view.figures import curve_sections, histogram_figures, overview_figures
from guerdon.view.rollouts import show_group, show_rollouts
from guerdon.view.runs import ViewedRun


def list_runs(runs: Mapping[str, ViewedRun]) -> Context:
    """Return what the list of runs shows."""
    return {"title": "Runs", "rows": [_run_row(run) for run in runs.values()]}


def _run_row(run: ViewedRun) -> Context:
    record = run.record()
    current = current_stage(record)
    return {
        "key": run.key,
        "status": run_status(record),
        "stage": current.id if current else "",
        "step": current.step if current else None,
        "reward": last_reward(record),
        "rollouts": sum(overview(run.index).rollouts.values()),
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
        "tokens": {stage.id: stage_tokens(run.index, stage.id) for stage in record.stages},
        "link": lambda stage: address(run, "rollouts", stage=stage),
        "evaluations": _evaluations(run, record),
        "figures": overview_figures(run),
    }


def _evaluations(run: ViewedRun, record: RunRecord) -> dict[str, list[Context]]:
    """Return each evaluation's means with intervals, while its own tables do not have them."""
    found = {}
    for stage in record.stages:
        own = [column for rows in stage.tables.values() for row in rows for column in row]
        rows = [] if any(column.endswith("_low") for column in own) else evaluation(run.index, stage.id)
        if rows:
            found[stage.id] = [
                {
                    "model": one.model,
                    "verifier": one.entry,
                    "prompts": one.prompts,
                    "mean": one.mean,
                    **({"mean_low": one.low, "mean_high": one.high} if one.prompts > 1 else {}),
                }
                for one in rows
            ]
    return found


def show_curves(run: ViewedRun, runs: Mapping[str, ViewedRun], query: Query) -> Context:
    """Return what the page of curves shows."""
    events = run.record()
    stages = [stage.id for stage in events.stages]
    known = [stage for stage in stages if stage in metric_names(run.index)] or stages
    stage = query.get("stage") or (known[-1] if known else "")
    if stage not in stages and stages:
        raise NotFoundError(f"run '{run.key}' has no stage '{stage}'. Stages: {', '.join(stages)}.")
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


def show_rewards(run: ViewedRun) -> Context:
    """Return what the page of rewards shows."""
    return {"title": "Rewards", "charts": histogram_figures(run)}


def show_verifiers(run: ViewedRun) -> Context:
    """Return what the page of verifiers shows."""
    rows = sorted(entry_health(run.index), key=lambda one: (-one.failed / one.count, -(one.p95_ms or 0)))
    return {"title": "Verifiers", "rows": rows}


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
