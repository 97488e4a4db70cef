"""``guerdon report``."""

from __future__ import annotations

from pathlib import Path

import click

from guerdon.cli.targets import check_folder
from guerdon.errors import UsageError
from guerdon.files import replaced


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

    The page needs no network and no script. The report of an active run shows its state so far.
    """
    from guerdon.report import draw_curves, read_run, render_page

    record = read_run(run)
    if curves is not None:
        written = draw_curves(record, curves)
        if not written:
            raise UsageError(
                f"--curves {curves}: {run} has no curve to draw. A curve needs a metric that a stage has logged at two "
                "steps or more."
            )
        click.echo(f"Curves: {curves} ({len(written)} files)")
        return
    page = render_page(record, steps)
    path = output or run / "report.html"
    check_folder("-o", path)
    with replaced(path, fix="Choose another with -o.") as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")
    click.echo(f"Report: {path}")
