"""``guerdon runs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from guerdon.cli.tables import print_rows
from guerdon.errors import UsageError, one_line
from guerdon.report.reading import current_stage, last_reward, read_run, run_status


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER, by default runs/: status, stage, step, last reward and time.

    FOLDER may be a run's own folder, too. Below the list is the error of each run that has stopped with one.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder. Name the folder that holds the folders of runs.")
    found = [folder / "run.json"] if (folder / "run.json").is_file() else sorted(folder.glob("*/run.json"))
    rows = [_row(path.parent) for path in found]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        shown = [{name: _cell(row[name]) for name in row if name != "error"} for row in rows]
        print_rows(f"Runs in {folder}", shown, Console())
        for row in rows:
            if row["error"]:
                click.echo(f"{row['run']}: {one_line(row['error'])}")
    else:
        click.echo(f"No run is in {folder}. 'guerdon run r1-zero-mini' makes one.")


def _row(folder: Path) -> Mapping[str, Any]:
    try:
        record = read_run(folder)
    except UsageError as error:
        return _values(folder, status=f"unreadable: {error}")
    last = current_stage(record)
    return _values(
        folder,
        status=str(run_status(record)),
        stage=last.id if last else None,
        step=last.step if last else None,
        reward=last_reward(record),
        seconds=round(sum(stage.seconds for stage in record.stages), 1),
        started=record.started.isoformat(timespec="seconds") if record.started else None,
        error=record.error,
    )


def _values(folder: Path, **known: Any) -> Mapping[str, Any]:
    names = ("status", "stage", "step", "reward", "seconds", "started", "error")
    return {"run": folder.resolve().name, **{name: known.get(name) for name in names}}


def _cell(value: Any) -> Any:
    return "" if value is None else value
