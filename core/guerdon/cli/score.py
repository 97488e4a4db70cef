"""``guerdon score``."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import Progress
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.cli.tables import print_rows
from guerdon.cli.targets import manifest_path
from guerdon.component import check_params, load_component
from guerdon.errors import CheckFailedError, DataError, InfrastructureError, UsageError, one_line
from guerdon.manifest import load_manifest, plan_run
from guerdon.manifest.plan import named_stages
from guerdon.plugins import JUDGES, find_plugin, load_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.types import Failure, Judgement, Outcome, Rollout, Score

BATCH_ROWS = 512
"""Rows that are judged at once: enough to keep every worker busy, little enough to report progress."""


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--manifest", "-m", metavar="MANIFEST|RECIPE", help="Score with a stage's rubric.")
@click.option("--stage", help="The stage of the manifest; needed if several have rewards.")
@click.option("--use", "uses", multiple=True, metavar="PLUGIN", help="Score with a plugin. Repeatable.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="PLUGIN.NAME=VALUE",
    help="Set a param of a --use plugin. Repeatable.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    help="Read a column under another name. Repeatable.",
)
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
    output: Path | None,
) -> None:
    """Score the completions in DATA, a JSONL file with the columns prompt, completion and what the verifiers read.

    With -o, one line for each line of DATA, in order: the row, its reward, and each verifier's verdict.
    """
    if (manifest is None) == (not uses):
        raise UsageError("say what to score with: either --manifest FILE, or --use PLUGIN (repeatable).")
    entries = _manifest_entries(manifest, stage) if manifest else [_entry(use, params) for use in uses]
    _check_param_targets(params, uses)
    renames = _renames(columns)
    total = sum(1 for _ in _rows(data))
    if total == 0:
        raise DataError(f"{data} holds no rows.")
    summary = _Summary()
    with Rubric(entries) as rubric, _written(output) as write, Progress(transient=True) as progress:
        task = progress.add_task("Scoring", total=total)
        rows = _rows(data)
        while chunk := list(islice(rows, BATCH_ROWS)):
            rollouts = [_rollout(data, number, row, renames) for number, row in chunk]
            for (_, row), judgement in zip(chunk, rubric.score(rollouts), strict=True):
                summary.add(judgement)
                write({**row, "reward": judgement.reward, "scores": _scores(judgement)})
            progress.advance(task, len(chunk))
    print_rows(f"{data.name}: {total} rows", summary.rows([entry.name for entry in entries]), Console())
    summary.raise_if_nothing_was_judged()


class _Summary:
    """What the table shows."""

    def __init__(self) -> None:
        self._rewards: list[float] = []
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)
        self._outcomes: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self._last_failure: dict[str, Score] = {}

    def add(self, judgement: Judgement) -> None:
        if judgement.reward is not None:
            self._rewards.append(judgement.reward)
        for name, verdict in judgement.verdicts.items():
            self._outcomes[name][verdict.score.outcome] += 1
            self._latencies[name].append(verdict.latency_ms)
            if verdict.score.value is not None:
                self._values[name].append(verdict.score.value)
            if verdict.score.outcome is Outcome.FAILED:
                self._last_failure[name] = verdict.score

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "mean": _mean(self._values[name]),
                "min": min(self._values[name], default=None),
                "max": max(self._values[name], default=None),
                "scored": self._outcomes[name][Outcome.SCORED],
                "skipped": self._outcomes[name][Outcome.SKIPPED],
                "failed": self._outcomes[name][Outcome.FAILED],
                "median ms": statistics.median(self._latencies[name]) if self._latencies[name] else None,
            }
            for name in names
        ]
        reward = {
            "name": "reward",
            "mean": _mean(self._rewards),
            "min": min(self._rewards, default=None),
            "max": max(self._rewards, default=None),
            "scored": len(self._rewards),
        }
        return [*rows, reward]

    def raise_if_nothing_was_judged(self) -> None:
        """A verifier that failed on every row is no result, whatever the table says."""
        for name, outcomes in self._outcomes.items():
            if outcomes[Outcome.FAILED] == outcomes.total():
                failure = self._last_failure[name]
                outside = failure.failure is Failure.INFRASTRUCTURE
                raise (InfrastructureError if outside else CheckFailedError)(
                    f"'{name}' failed on every row, the last time: {failure.failure}: {failure.explanation}"
                )


def _manifest_entries(target: str, stage: str | None) -> Sequence[Entry]:
    plan = plan_run(load_manifest(manifest_path(target)))
    judged = {planned.ref.id: planned.entries for planned in plan.stages if planned.entries}
    if stage is None and len(judged) == 1:
        stage = next(iter(judged))
    if stage not in judged:
        raise UsageError(
            f"{target} has rewards in the stages {', '.join(judged) or 'none'}. Name one with --stage."
        )
    for entry in judged[stage]:
        for param, stage_id in named_stages(entry).items():
            raise UsageError(
                f"'{entry.name}' uses the checkpoint of stage '{stage_id}', which only a run makes. "
                f"Score with --use and --param {entry.component.plugin.name}.{param}=FOLDER."
            )
    return judged[stage]


def _entry(use: str, params: Sequence[str]) -> Entry:
    plugin = find_plugin(use, JUDGES, Path.cwd())
    chosen = {}
    for param in params:
        target, equals, text = param.partition("=")
        name, dot, key = target.rpartition(".")
        if not (equals and dot):
            raise UsageError(
                f"--param {param} is not of the form PLUGIN.NAME=VALUE, such as format.prefilled=true."
            )
        if name in (use, plugin.name):
            chosen[key] = _yaml(param, text)
    component = load_component(plugin, chosen, Path.cwd())
    check_params(component, load_plugin(plugin, Path.cwd()))
    return Entry(plugin.name, component)


def _check_param_targets(params: Sequence[str], uses: Sequence[str]) -> None:
    for param in params:
        name = param.partition("=")[0].rpartition(".")[0]
        if not any(name in (use, use.rpartition("/")[2], use.rpartition(":")[2]) for use in uses):
            raise UsageError(f"--param {param} names no --use plugin. Used: {', '.join(uses) or 'none'}.")


def _yaml(param: str, text: str) -> Any:
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise UsageError(f"--param {param}: the value is not valid YAML: {one_line(error)}") from None


def _renames(columns: Sequence[str]) -> dict[str, str]:
    pairs = [column.partition("=") for column in columns]
    for name, equals, source in pairs:
        if not (name and equals and source):
            raise UsageError(f"--column {name} is not of the form NAME=COLUMN, such as reference=answer.")
    return {name: source for name, _, source in pairs}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers, from 1, and rows."""
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _row(f"{path}:{number}", line)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}:{number + 1}: is not UTF-8 text. Convert the file to UTF-8.") from None


def _row(where: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not valid JSON: {one_line(error)}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row is a JSON object, not {line.strip()[:40]}.")
    return row


def _rollout(path: Path, number: int, row: Mapping[str, Any], renames: Mapping[str, str]) -> Rollout:
    columns = dict(row)
    for name, source in renames.items():
        if source not in row:
            raise DataError(f"{path}:{number}: has no column '{source}'. Columns: {', '.join(row)}.")
        columns[name] = row[source]
    if "completion" not in columns:
        raise DataError(
            f"{path}:{number}: has no column 'completion'. Columns: {', '.join(row) or 'none'}. "
            "Name the one that holds completions with --column completion=NAME."
        )
    prompt, completion = columns.pop("prompt", ""), columns.pop("completion")
    messages = completion if isinstance(completion, list) else []
    if not isinstance(completion, str | list) or not all(isinstance(message, dict) for message in messages):
        raise DataError(
            f"{path}:{number}: completion is {completion!r}; it must be text or a list of messages."
        )
    return Rollout(prompt, completion, columns)


def _scores(judgement: Judgement) -> dict[str, Any]:
    return {
        name: {**verdict.score.to_dict(), "latency_ms": round(verdict.latency_ms, 3)}
        for name, verdict in judgement.verdicts.items()
    }


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Write JSON lines so that the file appears whole, at the end."""
    if path is None:
        yield lambda _row: None
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        # A lone surrogate is written as the escape that JSON has for it.
        file: TextIO = partial.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with file:
            yield lambda row: print(json.dumps(row, ensure_ascii=False), file=file)
        partial.replace(path)
    except InfrastructureError:
        raise
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
