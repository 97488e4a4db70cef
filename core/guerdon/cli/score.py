"""``guerdon score``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from guerdon.cli.rubrics import cache_option, chosen_entries, column_option, opened_cache, rubric_options
from guerdon.cli.tables import print_rows
from guerdon.offline.rollouts import read_renames, score_columns, to_rollout
from guerdon.offline.rows import CHUNK_ROWS, count_rows, read_rows, written_rows
from guerdon.offline.summary import Summary
from guerdon.rubric import Rubric


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@rubric_options("Score with")
@column_option
@cache_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write rows with scores here."
)
def score(
    data: Path,
    manifest: str | None,
    stage: str | None,
    uses: tuple[str, ...],
    params: tuple[str, ...],
    columns: tuple[str, ...],
    cache: Path | None,
    output: Path | None,
) -> None:
    """Score the completions in DATA, a JSONL or Parquet file.

    Its columns are prompt, completion and what the verifiers read. With -o, one row for each row of DATA, in order: the
    row, its reward, and each verifier's verdict; JSONL, or Parquet where the name ends in .parquet.
    """
    entries = chosen_entries("score with", manifest, stage, uses, params)
    renames = read_renames(columns)
    total = count_rows(data)
    err = Console(stderr=True)
    summary = Summary([entry.name for entry in entries])
    with (
        opened_cache(cache) as scores,
        Rubric(entries, cache=scores) as rubric,
        written_rows(output, data) as write,
        Progress(transient=True, console=err, disable=not err.is_terminal) as progress,
    ):
        task = progress.add_task("Scoring", total=total)
        rows = read_rows(data)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            judgements = rubric.score([to_rollout(where, row, renames) for where, row in chunk])
            for (where, _), judgement in zip(chunk, judgements, strict=True):
                summary.add(where, judgement)
            write([{**row, **score_columns(one)} for (_, row), one in zip(chunk, judgements, strict=True)])
            progress.advance(task, len(chunk))
    print_rows(f"{data.name}: {total} rows", summary.rows(), Console())
    for remark in summary.remarks():
        click.echo(remark)
    summary.raise_if_nothing_was_judged()
