"""``guerdon audit``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from guerdon.audit import (
    KINDS,
    OWN_FORM,
    AuditReport,
    AuditVerdict,
    audit_rubric,
    case_problems,
    kinds_of,
    own_problems,
    stage_problems,
)
from guerdon.audit.auditing import MARGIN, CaseResult, worst_first
from guerdon.cli.rubrics import params_by_target, plugin_names
from guerdon.cli.tables import print_rows
from guerdon.errors import CheckFailedError, UsageError
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.entries import named_stages
from guerdon.manifest.rubrics import is_manifest, manifest_path, plugin_entries
from guerdon.plugins.spelling import did_you_mean
from guerdon.rubric import Entry
from guerdon.rubric.entry import names_of

_SHOWN = 120
"""The most characters of a completion in the text report."""


@click.command()
@click.argument("target", metavar="MANIFEST|RECIPE|PLUGIN")
@click.option("--stage", help="Audit one stage of the manifest; by default each that has rewards.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="The kind of verifier. Repeatable."
)
@click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="PLUGIN.NAME=VALUE",
    help="Set a plugin's param. Repeatable.",
)
@click.option(
    "--rows", default=4, show_default=True, type=click.IntRange(1), help="Data rows to audit a stage on."
)
@click.option(
    "--cases",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Audit on your own right and wrong answers: rows with 'right', 'wrong' and columns.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    target: str,
    stage: str | None,
    kinds: tuple[str, ...],
    params: tuple[str, ...],
    rows: int,
    cases: Path | None,
    as_json: bool,
) -> None:
    """Attack a verifier, or a manifest's rubrics, with a corpus of exploits; exit 1 if one of them pays.

    Each case is compared with the rewards of an honest right and an honest wrong answer. Exit 1 if no honest answer
    pays.
    """
    with Console(stderr=True).status("Auditing…"):
        if is_manifest(target):
            if params:
                raise UsageError("--param sets the params of a plugin; a manifest has its own.")
            reports = _audit_stages(target, stage, kinds, rows, cases)
        else:
            if stage is not None:
                raise UsageError(f"--stage names a stage of a manifest, and '{target}' is a plugin.")
            chosen_params = params_by_target(params, {target: plugin_names(target)})[target]
            entries = plugin_entries(target, chosen_params)
            chosen = _in_order(kinds) or kinds_of(entries)
            reports = {names_of(entries)[-1]: _audited(entries, chosen, cases)}
    if as_json:
        click.echo(json.dumps({name: report.to_dict() for name, report in reports.items()}, indent=2))
    else:
        for name, report in reports.items():
            _print_report(name, report, Console())
    _raise_for(reports)


def _audited(entries: Sequence[Entry], kinds: Sequence[str], cases: Path | None) -> AuditReport:
    if cases is not None:
        return audit_rubric(entries, kinds, case_problems(cases, entries), OWN_FORM)
    return audit_rubric(entries, kinds, own_problems(entries, kinds))


def _audit_stages(
    target: str, stage: str | None, kinds: Sequence[str], rows: int, cases: Path | None
) -> dict[str, AuditReport]:
    plan = plan_run(load_manifest(manifest_path(target)))
    judged = {planned.ref.id: planned for planned in plan.stages if planned.entries}
    if not judged or (stage is not None and stage not in judged):
        asked = f" There is none in '{stage}'.{did_you_mean(stage, judged)}" if stage else ""
        raise UsageError(f"{target} has rewards in the stages {', '.join(judged) or 'none'}.{asked}")
    reports = {}
    for name, planned in judged.items():
        entries = _known_now(planned.entries, name)
        if stage in (None, name) and entries:
            chosen = _in_order(kinds) or kinds_of(entries)
            problems = [] if cases is not None else stage_problems(plan, planned, rows)
            found = audit_rubric(entries, chosen, problems) if problems else _audited(entries, chosen, cases)
            reports[name] = found
    return reports


def _known_now(entries: Sequence[Entry], stage: str) -> list[Entry]:
    """Return the rewards that exist before a run."""
    for entry in entries:
        for maker in named_stages(entry).values():
            click.echo(
                f"stage '{stage}': not audited: '{entry.name}', whose model stage '{maker}' makes.", err=True
            )
    return [entry for entry in entries if not named_stages(entry)]


def _in_order(kinds: Sequence[str]) -> list[str]:
    return [kind for kind in KINDS if kind in kinds]


def _print_report(name: str, report: AuditReport, console: Console) -> None:
    rows: list[dict[str, Any]] = [
        {
            "case": result.case if result.corpus != "equivalents" else f"{result.problem}, {result.case}",
            "corpus": result.corpus,
            "problems": count,
            "earns": result.reward,
            "right": result.right,
            "wrong": result.wrong,
            "verdict": result.verdict.value,
        }
        for result, count in worst_first(report.results)
    ]
    title = f"{name}: kinds {', '.join(report.kinds) or 'unknown'}; answers as {report.form!r}"
    print_rows(title, rows, console)
    if not report.tells_right:
        click.echo("Right and wrong answers earn the same here: a hack is what earns more than both.")
    if report.left_out:
        click.echo(f"Left out, as right and wrong answers earn the same: {', '.join(report.left_out)}.")
    for result, _ in worst_first(report.results):
        if result.verdict is not AuditVerdict.OK:
            click.echo(_explained(result))


def _explained(result: CaseResult) -> str:
    paid = ", ".join(
        f"{name} {'–' if part is None else round(part, 4)}" for name, part in result.parts.items()
    )
    said = "; ".join(f"{name}: {text}" for name, text in result.explanations.items() if text)
    completion = repr(result.completion[:_SHOWN]) + ("…" if len(result.completion) > _SHOWN else "")
    return (
        f"{result.verdict.value}: {result.case} ({result.problem}). {result.why}\n"
        f"  {completion}\n  paid by: {paid or 'no entry'}{f' ({said})' if said else ''}"
    )


def _raise_for(reports: dict[str, AuditReport]) -> None:
    found = [result for report in reports.values() for result, _ in worst_first(report.results)]
    counts = {verdict: sum(result.verdict is verdict for result in found) for verdict in AuditVerdict}
    bad = [
        f"{count} {verdict.value}{'s' if count > 1 else ''}"
        for verdict, count in counts.items()
        if count and verdict is not AuditVerdict.OK
    ]
    if bad:
        raise CheckFailedError(f"{' and '.join(bad)} in {len(found)} cases, by a margin of {MARGIN:.0%}.")
