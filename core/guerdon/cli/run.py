"""``guerdon run``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from guerdon.cli.findings import checked_plan
from guerdon.cli.tables import print_results
from guerdon.cli.targets import manifest_argument, manifest_path, set_option
from guerdon.component import Component, load_component
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import Plan
from guerdon.plugins import Kind, find_plugin
from guerdon.preflight import check_run_folder, raise_for
from guerdon.run import execute, launch_ranks

STANDARD_HOOKS = ("progress", "jsonl_log")
"""The hook plugins that every run has, by name like any other's."""


@click.command()
@manifest_argument
@set_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder; by default runs/<name>.",
)
@click.option("--redo", is_flag=True, help="Run stages again that were finished from other inputs.")
def run(manifest: str, overrides: tuple[str, ...], output: Path | None, redo: bool) -> None:
    """Run a manifest, or a recipe by its name.

    Finished stages are skipped and a killed stage goes on from its newest checkpoint, so the same command continues
    a run. Under accelerate launch or torchrun all processes train, and the first one does the rest.
    """
    ranks = launch_ranks()
    if not ranks.first:
        plan = plan_run(load_manifest(manifest_path(manifest), overrides))
        execute(plan, _run_folder(plan, output), [], ranks=ranks)
        return
    plan, findings = checked_plan(manifest, overrides, notes=False)
    directory = _run_folder(plan, output)
    check_run_folder(directory)
    raise_for(findings, ", so nothing was run")
    standard = [
        load_component(find_plugin(f"guerdon/{name}", [Kind.HOOKS]), {}, None) for name in STANDARD_HOOKS
    ]
    hooks: list[Component] = [*standard, *plan.hooks]
    results = execute(plan, directory, [hook.build() for hook in hooks], redo=redo, ranks=ranks)
    print_results(results, Console())
    click.echo(f"Run folder: {directory}")


def _run_folder(plan: Plan, output: Path | None) -> Path:
    return output or Path("runs", plan.manifest.name)
