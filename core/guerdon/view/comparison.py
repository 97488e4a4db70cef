"""Gather what the comparison of two sides shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guerdon.errors import UsageError
from guerdon.index.comparing import By, Pair, Side, compare
from guerdon.index.filters import Filters
from guerdon.index.rows import EXCERPT_BYTES, read_records
from guerdon.index.summing import overview
from guerdon.report.formatting import number
from guerdon.view.addresses import Context, Query, address
from guerdon.view.rollouts import excerpt
from guerdon.view.runs import ViewedRun

_SAID = 300
"""The characters of a verdict in the table."""


def show_comparison(run: ViewedRun, runs: Mapping[str, ViewedRun], query: Query) -> Context:
    """Return what the comparison of two sides shows."""
    other = next((key for key in runs if key != run.key), run.key)
    sides = [_side(runs, query, name, key) for name, key in (("a", run.key), ("b", other))]
    chosen_runs = [runs[given["run"]] for given, _ in sides]
    # rescored files have the same completions; two runs have different ones
    rescored = all(one.folder.is_file() for one in chosen_runs)
    asked = query.get("by", "")
    by: By = "completion" if asked == "completion" or (rescored and not asked) else "prompt"
    context: Context = {"title": "Compare", "problem": "", "found": None, "threshold": 0.5, "rows": []}
    context |= {"by": by, "sides": [given for given, _ in sides]}
    try:
        if asked not in ("", "prompt", "completion"):
            raise UsageError(f"by is '{asked:.40}'; give one of prompt, completion.")
        context["threshold"] = Filters.of({"value_min": query.get("threshold", "") or "0.5"}).value_min
        chosen = [
            Side(
                one.index,
                Filters.of({**terms, "stage": given["stage"], "model": given["model"]}),
                given["measure"],
            )
            for one, (given, terms) in zip(chosen_runs, sides, strict=True)
        ]
        if "a_run" in query or len(runs) > 1:
            found = compare(chosen[0], chosen[1], context["threshold"], by=by)
            context["found"] = found
            context["rows"] = [_row(pair, by, chosen_runs, chosen) for pair in found.pairs]
    except UsageError as error:
        context["problem"] = str(error)
    return context


def _row(pair: Pair, by: str, runs: list[ViewedRun], sides: list[Side]) -> Context:
    """Return a pair with a link for each side; of a completion, with its text and the explanations."""
    row: Context = {"pair": pair, "completion": "", "said": ["", ""]}
    if by == "prompt":
        row["links"] = [
            f"{address(run, 'rollouts')}?{replace(side.filters, prompt=pair.digest).query()}"
            for run, side in zip(runs, sides, strict=True)
        ]
        return row
    records = [
        read_records(run.index, [found], EXCERPT_BYTES)[0] for run, found in zip(runs, pair.rows, strict=True)
    ]
    row["links"] = [
        address(run, "rollout", found.stage, found.line) for run, found in zip(runs, pair.rows, strict=True)
    ]
    row["completion"] = excerpt(pair.rows[0], records[0])
    row["said"] = _said(records, [side.measure for side in sides])
    return row


def _said(records: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[str]:
    """Return what the compared verdicts of each side say; of rewards, what the verdicts that differ say."""
    scores = [_verdicts(record) for record in records]
    differ = [
        name
        for name in dict.fromkeys(name for of_side in scores for name in of_side)
        if len({str(of_side.get(name, {}).get("value")) for of_side in scores}) > 1
    ]
    return [
        "; ".join(
            f"{name} {number(verdict.get('value'))} {verdict.get('explanation') or ''}"[:_SAID].rstrip()
            for name in (differ if measure == "reward" else [measure])
            if (verdict := of_side.get(name)) is not None
        )
        for of_side, measure in zip(scores, measures, strict=True)
    ]


def _verdicts(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    scores = record.get("scores")
    named = scores.items() if isinstance(scores, dict) else ()
    return {name: verdict for name, verdict in named if isinstance(verdict, dict)}


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
