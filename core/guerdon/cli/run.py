"""``guerdon run``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import click
from rich.console import Console

from guerdon.cli.findings import checked_plan
from guerdon.cli.tables import print_results
from guerdon.cli.targets import manifest_argument, manifest_path, set_option
from guerdon.errors import RunInterruptedError
from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import Plan
from guerdon.plugins.component import Component, load_component
from guerdon.plugins.discovery import Kind, Plugin
from guerdon.preflight import raise_for
from guerdon.run import Ranks, check_run_folder, execute, launch_ranks, stopping_on_signals
from guerdon.stage import StageResult, Stop

STANDARD_HOOKS = "guerdon.standard_hooks"
"""The entry-point group of the hook plugins that every run has."""


@click.command()
@manifest_argument
@set_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder; by default runs/<name>.",
)
@click.option(
    "--redo",
    is_flag=True,
    help="Put stages that were made from other inputs aside, in the run folder, and run them again.",
)
def run(manifest: str, overrides: tuple[str, ...], output: Path | None, redo: bool) -> None:
    """Run a manifest, or a recipe by its name.

    Finished stages are skipped and a stopped stage resumes from its newest checkpoint, so the same command continues
    a run. A larger max_steps makes a stage longer. Ctrl-C and SIGTERM save a checkpoint after the step. Under
    accelerate launch or torchrun all processes train, and the first one does the rest.
    """
    with stopping_on_signals() as stop:
        try:
            _run(manifest, overrides, output, redo, stop)
        except KeyboardInterrupt:
            if stop.signal is None:
                raise
            raise RunInterruptedError(
                f"{stop.signal.name} stopped the run outside of its stages. Run the same command to resume.",
                stop.signal,
            ) from None


def _run(manifest: str, overrides: tuple[str, ...], output: Path | None, redo: bool, stop: Stop) -> None:
    ranks = launch_ranks()
    if not ranks.first:
        plan = plan_run(load_manifest(manifest_path(manifest), overrides))
        execute(plan, _run_folder(plan, output), [], ranks=ranks, stop=stop)
        return
    directory, plan = _checked_plan(manifest, overrides, output, ranks)
    hooks: list[Component] = [*_standard_hooks(), *plan.hooks]
    built = [*(hook.build() for hook in hooks), _PrintResults()]
    results = execute(plan, directory, built, redo=redo, ranks=ranks, stop=stop)
    _print_places(directory, results)


class _PrintResults:
    """Prints each stage's result when the stage ends."""

    @hookimpl
    def stage_finished(self, stage_id: str, result: StageResult) -> None:
        print_results({stage_id: result}, Console())

    @hookimpl
    def stage_skipped(self, stage_id: str, result: StageResult) -> None:
        print_results({stage_id: result}, Console())


def _checked_plan(
    manifest: str, overrides: tuple[str, ...], output: Path | None, ranks: Ranks
) -> tuple[Path, Plan]:
    with ranks.failing_together():
        plan, findings = checked_plan(manifest, overrides, notes=False)
        directory = _run_folder(plan, output)
        check_run_folder(directory, plan.manifest.name)
        raise_for(findings, ", so nothing was run")
    return directory, plan


def _standard_hooks() -> list[Component]:
    hooks = []
    for entry in metadata.entry_points(group=STANDARD_HOOKS):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("-", "-")
        hooks.append(load_component(Plugin(Kind.HOOKS, entry.name, name, version, entry.value), {}, None))
    return hooks


def _print_places(directory: Path, results: Mapping[str, StageResult]) -> None:
    """Print where the run is, and the model that its last training produced."""
    click.echo(f"Run folder: {directory}")
    models = [result.checkpoint for result in results.values() if result.checkpoint is not None]
    if models:
        click.echo(f"Model: {models[-1]}")
        click.echo(
            "To load, serve or publish it: the page 'How to use the model' of guerdon's documentation."
        )


def _run_folder(plan: Plan, output: Path | None) -> Path:
    return output or Path("runs", plan.manifest.name)
