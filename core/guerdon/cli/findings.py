"""Shared by ``check`` and ``run``: read a manifest, check its plan, and print the findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from rich.console import Console

from guerdon.cli.targets import manifest_path
from guerdon.manifest import Plan, draft_run, read_manifest
from guerdon.preflight import Finding, Level, preflight

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "cyan", Level.MEASURE: "green"}


def checked_plan(
    target: str, overrides: Sequence[str], *, offline: bool = False, notes: bool = True
) -> tuple[Plan, Sequence[Finding]]:
    """Read a manifest, check its plan, and print the findings.

    The valid parts of a manifest with mistakes are checked too, so that all mistakes are reported at once.

    Args:
        target: A file, or the name of a recipe.
        overrides: Changes to the manifest.
        offline: Whether missing external services are noted as not checked, instead of being errors.
        notes: Whether to print the notes of unchecked parts.

    Returns:
        The plan, and the preflight's findings.

    Raises:
        ManifestError: The manifest has mistakes; all at once, each with its line.
    """
    with Console(stderr=True).status("Checking…"):
        file = read_manifest(manifest_path(target), overrides)
        plan, problems = draft_run(file)
        findings = [
            f.unchecked() if offline and f.outside else f for f in preflight(plan, score=not problems)
        ]
    hidden = {Level.MEASURE} if notes and not problems else {Level.MEASURE, Level.NOTE}
    print_findings(finding for finding in findings if finding.level not in hidden)
    if problems:
        raise file.error(problems)
    return plan, findings


def print_findings(findings: Iterable[Finding]) -> None:
    """Print one line for each finding on standard error."""
    for finding in findings:
        level = click.style(finding.level.value, fg=_COLOURS[finding.level])
        place = f"{finding.place}: " if finding.place else ""
        click.echo(f"{level}: {place}{finding.where}: {finding.message}", err=True)
