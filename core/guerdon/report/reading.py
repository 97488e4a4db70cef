"""Read a run's folder: of a finished, stopped or active run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from guerdon.errors import UsageError
from guerdon.report.rollouts import Rollouts, read_rollouts
from guerdon.run.files import read_json
from guerdon.run.log import EVENTS, ROLLOUTS, RunEvents, read_events
from guerdon.run.results import read_result


class Status(StrEnum):
    """The state of a stage."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    WAITING = "waiting"


Point = tuple[int, Mapping[str, float]]
"""A training step, counted from 1, with its metrics."""


@dataclass(frozen=True)
class StageRecord:
    """One stage, up to its current state."""

    id: str
    use: str
    """The plugin's name in the manifest."""
    init: str
    status: Status
    seconds: float
    """The seconds of all attempts."""
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None
    metrics: Mapping[str, Any]
    """The result's numbers."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    """The result's tables, by title."""
    progress: Sequence[Point]
    folder: Path

    @cached_property
    def rollouts(self) -> Rollouts:
        """Return the rollouts, which are read at the first use."""
        return read_rollouts(self.folder / ROLLOUTS)

    @property
    def tokens(self) -> int | None:
        """Return the number of trained tokens if the stage counts them, else of generated tokens."""
        counted = [metrics["num_tokens"] for _, metrics in self.progress if metrics.get("num_tokens")]
        return int(counted[-1]) if counted else self.rollouts.tokens or None


@dataclass(frozen=True)
class Section:
    """A section that a hook plugin adds to the page, from ``report/<name>.json`` in the run's folder."""

    title: str
    text: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunRecord:
    """A run, up to its current state."""

    name: str
    directory: Path
    manifest: Mapping[str, Any]
    versions: Mapping[str, str]
    plugins: Sequence[Mapping[str, str]]
    stages: Sequence[StageRecord]
    sections: Sequence[Section]
    going_on: bool
    """Whether a process is running it now."""
    error: str | None
    """The error that stopped the last attempt."""
    started: datetime | None
    unreadable_lines: int
    """The number of lines in events and sections that cannot be read, such as a last line truncated by a kill."""

    @property
    def unreadable(self) -> int:
        """Return the number of lines that cannot be read, those of the rollouts included."""
        return self.unreadable_lines + sum(stage.rollouts.unreadable for stage in self.stages)

    @property
    def status(self) -> Status:
        """Return the state of the run as a whole."""
        return run_status(self)

    @property
    def description(self) -> str:
        """Return the manifest's description, or an empty text."""
        return str(self.manifest.get("description", ""))

    @property
    def seed(self) -> int:
        """Return the run's seed; 0 if the manifest sets none."""
        return int(self.manifest.get("seed", 0))


def read_run(directory: Path, log: RunEvents | None = None) -> RunRecord:
    """Read a run's folder.

    Args:
        directory: The folder.
        log: The run's events, if they are known; else they are read.

    Raises:
        UsageError: It does not hold a run, or holds files that guerdon did not write.
    """
    record = read_json(directory / "run.json")
    if record is None:
        what = "not a run, it has no run.json" if directory.is_dir() else "no such folder"
        inside = sorted(path.parent for path in directory.glob("*/run.json"))
        fix = (
            f"It holds runs: name one of them, like {inside[-1]}."
            if inside
            else "Name the folder that 'guerdon run' printed, like runs/r1-zero-mini."
        )
        raise UsageError(f"{directory}: {what}. {fix}")
    try:
        name, manifest, stage_ids = record["name"], record["manifest"], record["stages"]
        refs = {stage["id"]: stage for stage in manifest["stages"]}
        versions, plugins = record["versions"], record["plugins"]
    except (KeyError, TypeError):
        raise UsageError(
            f"{directory / 'run.json'} is not what 'guerdon run' writes, so there is nothing to report."
        ) from None
    log = log if log is not None else read_events(directory / EVENTS)
    going_on = _is_locked(directory / "lock")
    stages = [_stage(directory, refs.get(stage_id, {}), stage_id, log, going_on) for stage_id in stage_ids]
    sections = list(_sections(directory / "report", log))
    return RunRecord(
        name=name,
        directory=directory,
        manifest=manifest,
        versions=versions,
        plugins=plugins,
        stages=stages,
        sections=sections,
        going_on=going_on,
        error=None if going_on else log.error,
        started=log.started,
        unreadable_lines=log.unreadable,
    )


def run_status(record: RunRecord) -> Status:
    """Return the state of a run as a whole."""
    if record.going_on:
        return Status.RUNNING
    if all(stage.status is Status.FINISHED for stage in record.stages):
        return Status.FINISHED
    if any(stage.status is Status.FAILED for stage in record.stages):
        return Status.FAILED
    return Status.STOPPED if record.started else Status.WAITING


def _stage(
    directory: Path, ref: Mapping[str, Any], stage_id: str, log: RunEvents, going_on: bool
) -> StageRecord:
    folder = directory / "stages" / stage_id
    result = read_result(folder)
    metrics = dict(result.metrics) if result else {}
    status = Status.WAITING
    if result is not None:
        status = Status.FINISHED
    elif (folder / "inputs.json").exists():
        status = Status.FAILED if log.failed == stage_id else Status.STOPPED
        status = Status.RUNNING if going_on else status
    finished = log.finished.get(stage_id, {}) if result else {}
    tables = metrics.pop("tables", {})
    return StageRecord(
        id=stage_id,
        use=str(ref.get("use", "")),
        init=_init(ref.get("init", "base")),
        status=status,
        seconds=log.seconds.get(stage_id, 0.0),
        peak_memory_bytes=finished.get("peak_memory_bytes"),
        peak_gpu_memory_bytes=finished.get("peak_gpu_memory_bytes"),
        metrics={name: value for name, value in metrics.items() if isinstance(value, int | float | str)},
        tables=_tables(tables),
        progress=sorted(log.progress.get(stage_id, {}).items()),
        folder=folder,
    )


def _sections(folder: Path, log: RunEvents) -> Iterator[Section]:
    for file in sorted(folder.glob("*.json")):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            rows = _tables({"rows": data.get("rows", [])})["rows"]
            yield Section(str(data.get("title", file.stem)), str(data.get("text", "")), rows)
        except (AttributeError, KeyError, ValueError):  # being written, or another program's file
            log.unreadable += 1


def _tables(tables: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the valid tables of rows among a stage's ``tables``."""
    named = tables.items() if isinstance(tables, dict) else ()
    return {
        title: [row for row in rows if isinstance(row, dict)]
        for title, rows in named
        if isinstance(rows, list)
    }


def _init(init: Any) -> str:
    """Return the manifest's ``init`` on one line."""
    if isinstance(init, list):
        return ", ".join(map(_init, init))
    return str(init.get("path", "")) if isinstance(init, dict) else str(init).removeprefix("stage:")


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
