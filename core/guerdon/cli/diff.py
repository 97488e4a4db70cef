"""``guerdon diff``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from guerdon.cli.rubrics import (
    cache_option,
    column_option,
    opened_cache,
    params_by_target,
)
from guerdon.cli.tables import cell, print_rows
from guerdon.errors import DataError, UsageError
from guerdon.files import Located
from guerdon.manifest.rubrics import is_manifest, resolve_rubric
from guerdon.offline.columns import read_judgement, read_renames
from guerdon.offline.compare import Comparison, Flip
from guerdon.offline.groups import judged_rows
from guerdon.offline.rows import count_rows, opened_input, read_rows
from guerdon.rubric import Entry, Rubric
from guerdon.types import Judgement, Score, completion_text

_SHOWN = 160
"""The most characters of a completion in the text report."""

_Pair = tuple[str, str, Judgement, Judgement]
"""A row's place, its completion, and the two judgements of it."""


@click.command()
@click.argument("a")
@click.argument("b")
@click.argument("rollouts", required=False, type=click.Path(path_type=Path))
@click.option("--stage", help="The stage of the manifests; needed if several have rewards.")
@click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="A|B.NAME=VALUE",
    help="Set a param of a plugin. Repeatable.",
)
@column_option
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(
    a: str,
    b: str,
    rollouts: Path | None,
    stage: str | None,
    params: tuple[str, ...],
    columns: tuple[str, ...],
    cache: Path | None,
    as_json: bool,
) -> None:
    """List every verdict that A and B disagree on.

    A and B are manifests, recipes or plugins, which judge the completions in ROLLOUTS: a JSONL, JSON, CSV, TSV or
    Parquet file, or JSONL on standard input (-). Without ROLLOUTS, A and B are two files that 'guerdon score -o' wrote
    from the same rows.
    """
    with ExitStack() as stack:
        if rollouts is None:
            for option, value in (
                ("--stage", stage),
                ("--param", params),
                ("--column", columns),
                ("--cache", cache),
            ):
                if value:
                    raise UsageError(
                        f"{option} is for scoring, and two files that are scored already are compared."
                    )
            for side in (a, b):
                if not Path(side).exists():
                    raise UsageError(
                        f"without ROLLOUTS, A and B are two files that 'guerdon score -o' wrote, and '{side}' does not "
                        "exist. To compare two plugins or manifests, name the file of completions that they judge: "
                        f"guerdon diff {a} {b} ROLLOUTS."
                    )
            names, pairs = _scored_files(Path(a), Path(b))
        else:
            chosen = params_by_target(params, {"A": {"A"}, "B": {"B"}})
            sides = [_entries(a, stage, chosen["A"]), _entries(b, stage, chosen["B"])]
            names = [[entry.name for entry in side] for side in sides]
            pairs = stack.enter_context(_judged(sides, rollouts, read_renames(columns), cache))
        comparison = Comparison(*names)
        flips = (
            flip for where, text, one, other in pairs for flip in comparison.add(where, text, one, other)
        )
        if as_json:
            _print_json(flips, comparison)
        else:
            _print_text(flips, comparison)


def _entries(target: str, stage: str | None, params: dict[str, Any]) -> Sequence[Entry]:
    return resolve_rubric(target, stage if is_manifest(target) else None, params).entries


@contextmanager
def _judged(
    sides: Sequence[Sequence[Entry]], path: Path, renames: dict[str, str], cache: Path | None
) -> Iterator[Iterator[_Pair]]:
    with (
        opened_input(path) as given,
        opened_cache(cache) as scores,
        Rubric(sides[0], cache=scores) as rubric_a,
        Rubric(sides[1], cache=scores) as rubric_b,
        Console(stderr=True).status(f"Judging {given.count()} rows twice…"),
    ):

        def pairs() -> Iterator[_Pair]:
            for chunk in judged_rows(given.read(), renames, [rubric_a, rubric_b]):
                for (where, _), rollout, (one, other) in chunk:
                    yield where, rollout.text, one, other

        yield pairs()


def _scored_files(a: Path, b: Path) -> tuple[list[list[str]], Iterator[_Pair]]:
    # Entries with a route are not in every row, so the names come from all rows.
    names = [
        list(
            dict.fromkeys(
                name for where, row in read_rows(path) for name in read_judgement(where, row).verdicts
            )
        )
        for path in (a, b)
    ]
    for path, found in zip((a, b), names, strict=True):
        if not found:
            count_rows(path)
            raise DataError(f"{path}: no verifier judged any of its rows.")

    def pairs() -> Iterator[_Pair]:
        for one, other in zip_longest(read_rows(a), read_rows(b)):
            if one is None or other is None:
                raise DataError(
                    f"{a if one is None else b} ends before {(other or one)[0]}. Score the same rows with both sides."
                )
            yield _same_row(one, other)

    return names, pairs()


def _same_row(a: Located, b: Located) -> _Pair:
    (where_a, row_a), (where_b, row_b) = a, b
    for column in ("prompt", "completion"):
        if row_a.get(column) != row_b.get(column):
            raise DataError(
                f"{where_a} and {where_b} have different {column}s. Score the same rows with both sides."
            )
    completion = row_a.get("completion", "")
    text = completion_text(completion) if isinstance(completion, str | list) else repr(completion)
    return where_a, text, read_judgement(where_a, row_a), read_judgement(where_b, row_b)


def _print_text(flips: Iterator[Flip], comparison: Comparison) -> None:
    for flip in flips:
        click.echo(f"{flip.where}: {flip.verifier}: {_verdict(flip.a)} -> {_verdict(flip.b)}")
        for side, score in (("A", flip.a), ("B", flip.b)):
            if score is not None and score.explanation:
                click.echo(f"  {side}: {score.explanation}")
        tail = "…" if len(flip.completion) > _SHOWN else ""
        click.echo(f"  completion: {tail}{flip.completion[-_SHOWN:]!r}")
    print_rows(
        f"{comparison.flips} verdict{' differs' if comparison.flips == 1 else 's differ'}",
        comparison.rows(),
        Console(),
    )
    for side, only in (("A", comparison.only_a), ("B", comparison.only_b)):
        if only:
            click.echo(f"only in {side}: {', '.join(only)}")


def _print_json(flips: Iterator[Flip], comparison: Comparison) -> None:
    """Print one JSON document as a stream."""
    click.echo('{"flips": [', nl=False)
    for number, flip in enumerate(flips):
        click.echo(("," if number else "") + "\n  " + json.dumps(flip.to_dict(), default=str), nl=False)
    rest = {"counts": comparison.rows(), "only_a": comparison.only_a, "only_b": comparison.only_b}
    click.echo("\n], " + json.dumps(rest)[1:])


def _verdict(score: Score | None) -> str:
    if score is None:
        return "not judged"
    return cell(score.value) if score.value is not None else f"{score.failure or score.outcome}"
