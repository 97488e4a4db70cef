"""How the preflight's findings look."""

from __future__ import annotations

from collections.abc import Iterable

import click

from guerdon.run.preflight import Finding, Level

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "cyan"}


def print_findings(findings: Iterable[Finding]) -> None:
    """One line each, on standard error."""
    for finding in findings:
        level = click.style(finding.level.value, fg=_COLOURS[finding.level])
        click.echo(f"{level}: {finding.where}: {finding.message}", err=True)
