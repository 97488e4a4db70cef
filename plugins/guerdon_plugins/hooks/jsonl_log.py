"""The run's log: ``events.jsonl`` for the run, ``rollouts.jsonl`` for each stage, one JSON object a line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guerdon import StageResult
from guerdon.hookspecs import RunInfo, hookimpl


class JsonlLog:
    """Writes what happens, and every rollout with its verdicts, as JSON lines.

    A stage that goes on after a kill repeats the steps since its checkpoint; their lines of the first try are dropped,
    so each step is logged once.
    """

    def __init__(self) -> None:
        self._trimmed: set[tuple[str, str]] = set()

    @hookimpl
    def run_started(self, run: RunInfo) -> None:
        _keep(run.directory / "events.jsonl", lambda _: True)  # what follows must not join a torn line
        self._event(run, "run_started", stages=list(run.stage_ids))

    @hookimpl
    def run_finished(self, run: RunInfo, error: BaseException | None) -> None:
        self._event(run, "run_finished", error=None if error is None else f"{type(error).__name__}: {error}")

    @hookimpl
    def stage_started(self, run: RunInfo, stage_id: str, resumed: bool) -> None:
        _start_measuring_memory()
        self._event(run, "stage_started", stage=stage_id, resumed=resumed)
        if not resumed:  # what an earlier run of other inputs has logged is of another stage
            _keep(run.directory / "events.jsonl", lambda line: not _is_progress(line, stage_id))

    @hookimpl
    def stage_progress(
        self, run: RunInfo, stage_id: str, step: int, total: int, metrics: Mapping[str, float]
    ) -> None:
        path = run.directory / "events.jsonl"
        if ("progress", stage_id) not in self._trimmed:
            self._trimmed.add(("progress", stage_id))
            # Without metrics it says where a stage goes on from: that step's own line stays.
            first_repeated = step if metrics else step + 1
            _keep(path, lambda line: not (_is_progress(line, stage_id) and line["step"] >= first_repeated))
        if metrics:
            self._event(run, "stage_progress", stage=stage_id, step=step, total=total, metrics=dict(metrics))

    @hookimpl
    def stage_finished(self, run: RunInfo, stage_id: str, result: StageResult, seconds: float) -> None:
        fields = {"seconds": round(seconds, 3), **_peak_memory(), "metrics": dict(result.metrics)}
        self._event(run, "stage_finished", stage=stage_id, **fields)

    @hookimpl
    def rollouts_scored(
        self, run: RunInfo, stage_id: str, step: int, records: Sequence[Mapping[str, Any]]
    ) -> None:
        path = run.directory / "stages" / stage_id / "rollouts.jsonl"
        if ("rollouts", stage_id) not in self._trimmed:
            self._trimmed.add(("rollouts", stage_id))
            _keep(path, lambda line: line["step"] < step)
        _append(path, ({"step": step, **record} for record in records))

    def _event(self, run: RunInfo, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        _append(run.directory / "events.jsonl", [{"time": now, "event": event, **fields}])


def _is_progress(line: Mapping[str, Any], stage_id: str) -> bool:
    return (line["event"], line.get("stage")) == ("stage_progress", stage_id)


def _start_measuring_memory() -> None:
    with suppress(OSError):  # a kernel or a container that does not let it: the peak is then the whole run's
        Path("/proc/self/clear_refs").write_text("5")
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def _peak_memory() -> dict[str, int]:
    """The most memory that this process has had since the stage began, in bytes: resident, and of its GPU."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    peak = {"peak_memory_bytes": int(kilobytes[1]) * 1024} if kilobytes else {}
    if cuda := _cuda():
        peak["peak_gpu_memory_bytes"] = cuda.max_memory_allocated()
    return peak


def _cuda() -> Any:
    """``torch.cuda``, if this run has imported it and there is a GPU: logging imports no torch of its own."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    # A lone surrogate, which a model's bytes can decode to, is written as the escape that JSON has for it.
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)


def _keep(path: Path, keeps: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite the file with the lines that are to stay, without those that a kill or a full disk tore."""
    if not path.exists():
        return
    partial = path.with_name(f".{path.name}.partial")
    with path.open(encoding="utf-8", errors="replace") as old, partial.open("w", encoding="utf-8") as new:
        for line in old:
            with suppress(ValueError):
                if line.endswith("\n") and keeps(json.loads(line)):
                    new.write(line)
    partial.replace(path)
