"""``guerdon check``."""

from __future__ import annotations

import os

import click
from rich.console import Console

from guerdon.cli.findings import print_findings
from guerdon.cli.targets import manifest_argument, manifest_path, set_option
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import preflight
from guerdon.run.preflight import raise_for


@click.command()
@manifest_argument
@set_option
@click.option(
    "--offline",
    is_flag=True,
    help="Name what is missing or down (a hub, an endpoint, Docker) as not checked, in place of failing.",
)
def check(manifest: str, overrides: tuple[str, ...], offline: bool) -> None:
    """Validate a manifest and prove its plan before any training.

    Plugins load, params fit, data opens, columns exist, gold answers score 1, no reward is constant.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = (
            "1"  # read when the hub's library is imported, which nobody has done yet
        )
    with Console(stderr=True).status("Checking…"):
        plan = plan_run(load_manifest(manifest_path(manifest), overrides))
        findings = list(preflight(plan))
    if offline:
        findings = [finding.unchecked() if finding.outside else finding for finding in findings]
    print_findings(findings)
    raise_for(findings, f" in {plan.file.path}")
    stages = ", ".join(stage.ref.id for stage in plan.stages)
    click.echo(f"{plan.file.path}: fit to run. Stages in order: {stages}.")
