"""``guerdon check``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from guerdon.cli.findings import checked_plan
from guerdon.cli.targets import manifest_argument, set_option
from guerdon.preflight import Finding, Level, raise_for
from guerdon.run import check_run_folder


@click.command()
@manifest_argument
@set_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder that the run is to write to, to check it too.",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Report what is missing or down (the hub, an endpoint, Docker) as 'not checked' instead of failing.",
)
def check(manifest: str, overrides: tuple[str, ...], output: Path | None, offline: bool) -> None:
    """Validate a manifest and check its plan before any training.

    Plugins load, params fit, data opens, columns exist, batches fill, models and libraries are there, gold answers
    score
    1. Everything that `run` would refuse before its first step is reported here, all at once.
    """
    if offline:
        # The hub's library reads it at import.
        os.environ["HF_HUB_OFFLINE"] = "1"
    plan, findings = checked_plan(manifest, overrides, offline=offline)
    check_run_folder(output or Path("runs", plan.manifest.name), plan.manifest.name)
    raise_for(findings, f" in {plan.file.path}")
    for finding in findings:
        if finding.level is Level.MEASURE:
            click.echo(f"{finding.where}: {finding.message}")
    stages = ", ".join(stage.ref.id for stage in plan.stages)
    click.echo(f"{plan.file.path}: {_verdict(findings)}. Stages in order: {stages}.")


def _verdict(findings: Sequence[Finding]) -> str:
    count = Counter(finding.level for finding in findings)
    parts = ["fit to run"]
    if warnings := count[Level.WARNING]:
        parts.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    if notes := count[Level.NOTE]:
        parts.append(f"{notes} thing{'s were' if notes > 1 else ' was'} not checked")
    return "; ".join(parts)
