"""``guerdon card``."""

from __future__ import annotations

from pathlib import Path

import click

from guerdon.cli.targets import check_folder
from guerdon.files import replaced


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--stage", help="The stage whose model it describes; by default the last that left one.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The card; by default README.md next to the model's weights.",
)
def card(run: Path, stage: str | None, output: Path | None) -> None:
    """Write the model card of a model that the run in the folder RUN trained.

    The card holds the Hub's metadata, the stages, data and rewards that made the model, its evaluations, and the
    manifest.
    """
    from guerdon.report import card_path, model_card, read_run, trained_stage

    record = read_run(run)
    described = trained_stage(record, stage)
    path = output or card_path(record, described)
    text = model_card(record, described)
    check_folder("-o", path)
    with replaced(path, fix="Choose another with -o.") as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    click.echo(f"Model card: {path}")
