"""Read a run's folder: of a finished, stopped or active run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from guerdon.errors import UsageError
from guerdon.hookspecs import Alarm
from guerdon.index import RunIndex
from guerdon.index.metrics import run_events
from guerdon.index.summing import overview
from guerdon.run.files import read_json
from guerdon.run.log import EVENTS, RunEvents, read_events
from guerdon.run.results import read_result


class Status(StrEnum):
    """The state of a stage."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    WAITING = "waiting"


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
    step: int | None
    """The last step that was logged."""
    last: Mapping[str, Any]
    """The last value of each logged metric."""


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
    alarms: Sequence[tuple[str, Alarm]]
    """The alarms, each with the id of its stage."""
    going_on: bool
    """Whether a process is running it now."""
    error: str | None
    """The error that stopped the last attempt."""
    started: datetime | None
    unreadable_lines: int
    """The number of lines that cannot be read, such as a last line truncated by a kill. Those of rollouts count only
    if the record was read with the run's index."""

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
        log: The run's events, if they are known; else they are read, in a memory that does not grow with the steps.

    Raises:
        UsageError: It does not hold a run, or holds files that guerdon did not write.
    """
    record = read_json(directory / "run.json") if directory.is_dir() else None
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
    log = log if log is not None else read_events(directory / EVENTS, every_step=False)
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
        alarms=[(stage_id, alarm) for stage_id in stage_ids for alarm in log.alarms.get(stage_id, [])],
        going_on=going_on,
        error=None if going_on else log.error,
        started=log.started,
        unreadable_lines=log.unreadable,
    )


def indexed_run(index: RunIndex) -> RunRecord:
    """Read a run's folder, with its events from its index, which is up to date.

    The incomplete last lines of a run's logs count as unreadable, unless the run is active.

    Raises:
        UsageError: It does not hold a run, or holds files that guerdon did not write.
    """
    record = read_run(index.run, run_events(index))
    known = overview(index)
    unreadable = known.unreadable + (0 if record.going_on else known.cut_off)
    return replace(record, unreadable_lines=record.unreadable_lines + unreadable)


def run_status(record: RunRecord) -> Status:
    """Return the state of a run as a whole."""
    if record.going_on:
        return Status.RUNNING
    if all(stage.status is Status.FINISHED for stage in record.stages):
        return Status.FINISHED
    if any(stage.status is Status.FAILED for stage in record.stages):
        return Status.FAILED
    return Status.STOPPED if record.started else Status.WAITING


def current_stage(record: RunRecord) -> StageRecord | None:
    """Return the stage that a run has reached, or ``None`` before the first."""
    reached = [stage for stage in record.stages if stage.step is not None or stage.seconds]
    return reached[-1] if reached else None


def last_reward(record: RunRecord) -> float | None:
    """Return the reward that a run's stages logged last."""
    rewards = (stage.last.get("reward") for stage in reversed(record.stages))
    return next((reward for reward in rewards if isinstance(reward, int | float)), None)


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
    progress = log.progress.get(stage_id, {})
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
        step=max(progress, default=None),
        last={name: value for _, values in sorted(progress.items()) for name, value in values.items()},
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
