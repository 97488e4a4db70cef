"""``guerdon profile``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console

from guerdon.cli.rubrics import cache_option, chosen_entries, opened_cache, rubric_options, workers_option
from guerdon.cli.tables import print_rows
from guerdon.cli.targets import FiniteRange, check_folder
from guerdon.errors import UsageError
from guerdon.files import Format, Located, format_of, replaced
from guerdon.files.writing import json_text
from guerdon.offline.columns import read_judgement
from guerdon.offline.groups import judged_rows
from guerdon.offline.profile import Profile
from guerdon.offline.rows import InputRows, opened_input
from guerdon.rubric import Entry, Rubric
from guerdon.types import Judgement


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@rubric_options("Judge again with")
@cache_option
@workers_option
@click.option("--by", metavar="ENTRY", help="The entry that decides, or 'reward'; by default the only entry.")
@click.option(
    "--least", type=FiniteRange(), default=1.0, show_default=True, help="The least value that passes."
)
@click.option("--model", metavar="NAME", help="The model to profile, where a run's rollouts are of several.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write each prompt's row with its pass rate here, as JSONL.",
)
def profile(
    data: Path,
    manifest: str | None,
    stage: str | None,
    uses: tuple[str, ...],
    params: tuple[str, ...],
    cache: Path | None,
    workers: int | None,
    by: str | None,
    least: float,
    model: str | None,
    output: Path | None,
) -> None:
    """Measure the pass rate of each prompt in DATA: completions that are judged.

    DATA is what 'guerdon score -o' wrote, or the rollouts.jsonl of a run's stage. With --use or --manifest its
    completions are judged again. The source 'files' draws the rows of -o by difficulty.
    """
    entries: Sequence[Entry] = ()
    if manifest is not None or uses or stage is not None or params:
        entries = chosen_entries("judge with", manifest, stage, uses, params)
    elif cache is not None or workers is not None:
        raise UsageError("--cache and --workers are for judging again: add --use PLUGIN or --manifest FILE.")
    if output is not None:
        check_folder("-o", output)
        if format_of(output) != Format("jsonl", ""):
            raise UsageError(f"-o {output}: a profile is JSONL. Name a file that ends in .jsonl.")
    found = Profile(by, least, model)
    with opened_input(data) as given:
        if output is not None and output.exists() and output.samefile(given.path):
            raise UsageError(
                f"{output} is the input itself, which would be replaced. Name another file with -o."
            )
        total = given.count()
        for (where, row), judgement in _judged(given, entries, cache, workers):
            found.add(where, row, judgement)
        table = found.table()
        if output is not None:
            with _jsonl(output) as file:
                file.writelines(f"{json_text(row)}\n" for row in found.rows(given.read()))
    print_rows(f"{Path(given.name).name}: {total} {'row' if total == 1 else 'rows'}", table, Console())
    for remark in found.remarks():
        click.echo(remark)


def _judged(
    given: InputRows, entries: Sequence[Entry], cache: Path | None, workers: int | None
) -> Iterator[tuple[Located, Judgement]]:
    """Yield the rows with their judgements: those in the file, or new ones."""
    if not entries:
        for where, row in given.read():
            yield (where, row), read_judgement(where, row)
        return
    with opened_cache(cache) as scores, Rubric(entries, cache=scores, workers=workers) as rubric:
        for chunk in judged_rows(given.read(), {}, [rubric]):
            for located, _, (judgement,) in chunk:
                yield located, judgement


@contextmanager
def _jsonl(path: Path) -> Iterator[TextIO]:
    with replaced(path) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        yield file
