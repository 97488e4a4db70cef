"""``guerdon report``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from guerdon.cli.targets import check_folder
from guerdon.errors import UsageError
from guerdon.files import replaced
from guerdon.index import RunIndex, grow_fully
from guerdon.run.log import RunEvents


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page; by default report.html in the run's folder.",
)
@click.option(
    "--curves",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the curves as SVG files to this folder, and no page.",
)
@click.option(
    "--step",
    "steps",
    type=int,
    multiple=True,
    help="Show every group of this step; repeatable. By default, the extreme rewards of three steps.",
)
def report(run: Path, output: Path | None, curves: Path | None, steps: tuple[int, ...]) -> None:
    """Write one HTML page on the run in the folder RUN: stages, tables, curves, rollouts with their verdicts.

    The page needs no network and no script. The report of an active run shows its state so far. An index of the
    rollouts is kept in the user's cache; the run's own files are not changed.
    """
    from guerdon.report import draw_curves, read_run, render_page, require_templates

    read_run(run, RunEvents())  # before an index is made: it may not be a run
    if curves is not None:
        written = draw_curves(_indexed(run), curves)
        if not written:
            raise UsageError(
                f"--curves {curves}: {run} has no curve to draw. A curve needs a metric that a stage has logged at two "
                "steps or more."
            )
        click.echo(f"Curves: {curves} ({len(written)} files)")
        return
    require_templates()
    page = render_page(_indexed(run), steps)
    path = output or run / "report.html"
    check_folder("-o", path)
    with replaced(path, fix="Choose another with -o.") as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")
    click.echo(f"Report: {path}")


def _indexed(run: Path) -> RunIndex:
    """Return the index of a run, up to date. A terminal shows the progress."""
    index = RunIndex(run)
    err = Console(stderr=True)
    with Progress(transient=True, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task("Reading", total=None)
        grow_fully(index, lambda growth: progress.update(task, completed=growth.indexed, total=growth.size))
    return index
