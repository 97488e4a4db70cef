"""The run's own log: ``events.jsonl`` for the run, ``rollouts.jsonl`` for each stage, one JSON object a line.

This module holds the writer and the readers. Steps are counted from 1 in both files: a rollout's step is the step that
trains on it. A kill or a full disk can damage only the line that is being written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.errors import RunInterruptedError
from guerdon.files import replaced
from guerdon.hookspecs import Alarm, RunInfo
from guerdon.run.secrets import Secrets
from guerdon.stage import StageResult

EVENTS = "events.jsonl"
ROLLOUTS = "rollouts.jsonl"


class RunLog:
    """Writes the run's events, and every rollout with its verdicts.

    A resumed stage repeats the steps since its checkpoint. Their earlier lines are dropped, so each step is logged
    once.

    Args:
        secrets: Values that must not be written down.
    """

    def __init__(self, secrets: Secrets | None = None) -> None:
        self._secrets = secrets or Secrets({})
        self._trimmed: set[tuple[str, str]] = set()

    def run_started(self, run: RunInfo) -> None:
        # remove an incomplete last line, which the next line would join
        _keep(run.directory / EVENTS, lambda line: "event" in line)
        self._event(run, "run_started", stages=list(run.stage_ids))

    def run_finished(self, run: RunInfo, error: BaseException | None) -> None:
        self._event(run, "run_finished", error=None if error is None else f"{type(error).__name__}: {error}")

    def stage_started(self, run: RunInfo, stage_id: str, resumed: bool) -> None:
        _start_measuring_memory()
        self._event(run, "stage_started", stage=stage_id, resumed=resumed)
        if not resumed:  # logged lines of an attempt with other inputs do not belong to this stage
            _keep(run.directory / EVENTS, lambda line: not _is_progress(line, stage_id))

    def stage_skipped(self, run: RunInfo, stage_id: str, result: StageResult) -> None:
        pass

    def stage_progress(
        self, run: RunInfo, stage_id: str, step: int, total: int, metrics: Mapping[str, float]
    ) -> None:
        path = run.directory / EVENTS
        if ("progress", stage_id) not in self._trimmed:
            self._trimmed.add(("progress", stage_id))
            # Without metrics, the step is the one that a stage resumes from, and its own lines stay. What was logged
            # of the start, before the first checkpoint, is logged again.
            first_repeated = step if metrics or step == 0 else step + 1
            _keep(path, lambda line: not (_is_progress(line, stage_id) and _step(line) >= first_repeated))
        if metrics:
            self._event(run, "stage_progress", stage=stage_id, step=step, total=total, metrics=dict(metrics))

    def alarm_raised(self, run: RunInfo, stage_id: str, alarm: Alarm) -> None:
        self._event(run, "alarm_raised", stage=stage_id, **asdict(alarm))

    def stage_finished(self, run: RunInfo, stage_id: str, result: StageResult, seconds: float) -> None:
        fields = {"seconds": round(seconds, 3), **_peak_memory(), "metrics": dict(result.metrics)}
        self._event(run, "stage_finished", stage=stage_id, **fields)

    def rollouts_scored(
        self, run: RunInfo, stage_id: str, step: int, records: Sequence[Mapping[str, Any]]
    ) -> None:
        path = run.directory / "stages" / stage_id / ROLLOUTS
        if ("rollouts", stage_id) not in self._trimmed:
            self._trimmed.add(("rollouts", stage_id))
            _keep(path, lambda line: isinstance(line.get("step"), int) and line["step"] < step)
        _append(path, ({"step": step, **record} for record in records))

    def _event(self, run: RunInfo, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "event": event, **fields}
        _append(run.directory / EVENTS, [self._secrets.hide(json.loads(json.dumps(line, default=str)))])


def _is_progress(line: Mapping[str, Any], stage_id: str) -> bool:
    """Return whether a line is of a step of a stage: its metrics, or an alarm that they raised."""
    return line.get("event") in ("stage_progress", "alarm_raised") and line.get("stage") == stage_id


def _step(line: Mapping[str, Any]) -> int:
    step = line.get("step")
    return step if isinstance(step, int) else 0


def _start_measuring_memory() -> None:
    with suppress(OSError):  # if the reset is forbidden, the peak is the whole run's
        Path("/proc/self/clear_refs").write_text("5")
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def _peak_memory() -> dict[str, int]:
    """Return the peak memory of this process since the stage began, in bytes: resident, and on its GPU."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    peak = {"peak_memory_bytes": int(kilobytes[1]) * 1024} if kilobytes else {}
    if cuda := _cuda():
        peak["peak_gpu_memory_bytes"] = cuda.max_memory_allocated()
    return peak


def _cuda() -> Any:
    """Return ``torch.cuda`` if this run has imported it and there is a GPU. Logging itself does not import torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    # A lone surrogate, which a model's bytes can decode to, is written as its JSON escape.
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)


def _keep(path: Path, keeps: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite the file with the lines to keep, without incomplete lines."""
    if not path.exists():
        return
    with (
        path.open(encoding="utf-8", errors="replace") as old,
        replaced(path) as partial,
        partial.open("w", encoding="utf-8") as new,
    ):
        for line in old:
            parsed = parse_object(line)
            if parsed is not None and line.endswith("\n") and keeps(parsed):
                new.write(line)


_INTERRUPTIONS = (RunInterruptedError.__name__, KeyboardInterrupt.__name__)
"""The errors of an attempt that was stopped from outside, and did not fail."""


@dataclass
class RunEvents:
    """The content of a run's ``events.jsonl``."""

    started: datetime | None = None
    error: str | None = None
    """The error that stopped the last attempt."""
    failed: str | None = None
    """The stage that raised this error, if it was not a signal that stopped the stage."""
    unreadable: int = 0
    """The number of lines that cannot be read."""
    progress: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    """The metrics, by stage and step."""
    alarms: dict[str, list[Alarm]] = field(default_factory=dict)
    """The alarms, by stage, in order."""
    finished: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The event of each stage's end, by stage."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The seconds of all attempts, by stage. A killed attempt ends with its last line."""


def read_events(path: Path, every_step: bool = True) -> RunEvents:
    """Read ``events.jsonl``, which may not exist yet.

    Args:
        path: The file.
        every_step: Whether the metrics of each step are kept; see :func:`fold_events`.
    """
    return fold_events(_events(path), every_step)


def logged_steps(path: Path, stage_id: str) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Yield the steps of a stage with their metrics, in the order of ``events.jsonl``.

    Args:
        path: The file.
        stage_id: The stage.
    """
    for event in _events(path):
        if event is None or (event.get("event"), event.get("stage")) != ("stage_progress", stage_id):
            continue
        metrics = event.get("metrics")
        if isinstance(metrics, dict):
            yield _step(event), {n: v for n, v in metrics.items() if isinstance(v, int | float)}


def fold_events(events: Iterable[Mapping[str, Any] | None], every_step: bool = True) -> RunEvents:
    """Return the content of the lines of ``events.jsonl``.

    Args:
        events: The lines, in order; ``None`` for a line that is not a JSON object.
        every_step: Whether the metrics of each step are kept. Without it, a stage has its last step only, with the
            last value of each metric, so that memory does not grow with the steps.
    """
    fold = _Fold(every_step)
    for event in events:
        try:
            fold.add(event)
        except (KeyError, TypeError, ValueError):
            fold.log.unreadable += 1
    fold.end_attempt(fold.last_time)
    return fold.log


class _Fold:
    """Adds events to a :class:`RunEvents`, one after the other."""

    def __init__(self, every_step: bool) -> None:
        self.log = RunEvents()
        self.last_time: datetime | None = None
        """The time of the latest event."""
        self._every_step = every_step
        self._running: tuple[str, datetime] | None = None
        """The stage that runs, and when this attempt started."""

    def add(self, event: Mapping[str, Any] | None) -> None:
        """Add an event.

        Raises:
            KeyError, TypeError, ValueError: The line is not an event, or lacks a field.
        """
        if event is None:
            raise ValueError("not a JSON object")
        log, kind, time = self.log, event["event"], datetime.fromisoformat(event["time"])
        stage = str(event.get("stage"))
        running = self._running
        if kind in ("run_started", "stage_started", "stage_finished", "run_finished"):
            # A run that starts after a kill ends the killed attempt at its last line.
            self.end_attempt(self.last_time if kind == "run_started" else time)
        if kind == "run_started":
            log.started, log.error, log.failed = log.started or time, None, None
        elif kind == "run_finished":
            log.error = event["error"]
            stopped = log.error is None or log.error.partition(":")[0] in _INTERRUPTIONS
            log.failed = running[0] if running and not stopped else None
        elif kind == "stage_started":
            self._running = (stage, time)
            if not event["resumed"]:
                log.seconds.pop(stage, None)
        elif kind == "stage_finished":
            log.finished[stage] = event
        elif kind == "alarm_raised":
            alarm = Alarm(**{part.name: event[part.name] for part in fields(Alarm)})
            log.alarms.setdefault(stage, []).append(alarm)
        elif kind == "stage_progress":
            self._add_metrics(stage, event["step"], event["metrics"])
        self.last_time = time

    def end_attempt(self, time: datetime | None) -> None:
        """Add the seconds of the running attempt of a stage, if there is one."""
        if self._running is not None and time is not None:
            stage, started = self._running
            self.log.seconds[stage] = self.log.seconds.get(stage, 0.0) + (time - started).total_seconds()
            self._running = None

    def _add_metrics(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        steps = self.log.progress.setdefault(stage, {})
        # An evaluation has an event of its own, in addition to that of its step.
        known = steps.get(step, {}) if self._every_step else next(iter(steps.values()), {})
        merged = {**known, **metrics}
        if not self._every_step:
            steps.clear()
        steps[step] = merged


def _events(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the events; ``None`` for a line that is not a JSON object."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        yield from map(parse_object, lines)
