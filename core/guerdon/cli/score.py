"""``guerdon score``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from guerdon.cli.rubrics import (
    cache_option,
    chosen_entries,
    column_option,
    opened_cache,
    ray_option,
    rubric_options,
    workers_option,
)
from guerdon.cli.tables import print_rows
from guerdon.cli.targets import check_folder
from guerdon.offline.agreement import Agreement, check_labels, read_label
from guerdon.offline.columns import read_renames, score_columns
from guerdon.offline.groups import judged_rows
from guerdon.offline.rows import opened_input, written_rows
from guerdon.offline.summary import Summary
from guerdon.rubric import Rubric
from guerdon.rubric.entry import names_of


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@rubric_options("Score with")
@column_option
@cache_option
@workers_option
@ray_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write rows with scores here."
)
@click.option("--labels", metavar="COLUMN", help="Compare each verifier with the labels in this column.")
def score(
    data: Path,
    manifest: str | None,
    stage: str | None,
    uses: tuple[str, ...],
    params: tuple[str, ...],
    columns: tuple[str, ...],
    cache: Path | None,
    workers: int | None,
    ray: str | None,
    output: Path | None,
    labels: str | None,
) -> None:
    """Score the completions in DATA: a JSONL, JSON, CSV, TSV or Parquet file, or JSONL on standard input (-).

    Its columns are prompt, completion and those that the verifiers read. A group reward compares the rows of one
    prompt. -o writes one row for each row of DATA, in order: the row, its reward, and each verifier's verdict. The
    name's suffix chooses the format.
    """
    entries = chosen_entries("score with", manifest, stage, uses, params)
    renames = read_renames(columns)
    if output is not None:
        check_folder("-o", output)
    err = Console(stderr=True)
    summary = Summary(names_of(entries))
    agreement = Agreement(names_of(entries))
    with opened_input(data) as given, ExitStack() as stack:
        total = given.count()
        if labels is not None:
            check_labels(given.read(), labels)
        scores = stack.enter_context(opened_cache(cache))
        rubric = stack.enter_context(Rubric(entries, cache=scores, workers=workers, ray=ray))
        write = stack.enter_context(written_rows(output, given.path, given.kind))
        progress = stack.enter_context(Progress(transient=True, console=err, disable=not err.is_terminal))
        task = progress.add_task("Scoring", total=total)
        rows = given.read()
        for chunk in judged_rows(rows, renames, [rubric]):
            for (where, row), _, (judgement,) in chunk:
                summary.add(where, judgement)
                agreement.add(read_label(where, row, labels) if labels else None, judgement)
            write([{**row, **score_columns(judgement)} for (_, row), _, (judgement,) in chunk])
            progress.advance(task, len(chunk))
    print_rows(
        f"{Path(given.name).name}: {total} {'row' if total == 1 else 'rows'}", summary.rows(), Console()
    )
    if labels:
        print_rows(f"agreement with '{labels}'", agreement.rows(), Console())
    for remark in summary.remarks():
        click.echo(remark)
    summary.raise_if_nothing_was_judged()
