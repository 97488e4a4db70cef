"""What the hooks of trackers have in common: one run of the tracker's for each stage, and its content."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import StageResult
from guerdon.errors import ParamsError
from guerdon.hookspecs import RunInfo, hookimpl
from guerdon.types import completion_text, message_text

__all__ = ["TextRow", "Tracker", "rollout_rows"]

TextRow = dict[str, str | float | None]
"""A rollout as a row of a tracker's table."""

_LONGEST = 10_000
"""The most characters of a text in a table."""


class Tracker(ABC):
    """Sends each stage to a tracker as a run of its own, with its metrics, tables of rollouts and the manifest.

    A tracker's run has the name ``<manifest's name>/<stage>``, in the project of the manifest's name.

    Args:
        rollouts: The most rollouts of a step in its table; 0 for no tables.
    """

    def __init__(self, rollouts: int = 16) -> None:
        if rollouts < 0:
            raise ParamsError(f"rollouts is {rollouts}; give the number of rollouts in a step's table, or 0.")
        self._rollouts = rollouts
        self._open: str | None = None

    @abstractmethod
    def begin(self, run: RunInfo, stage_id: str) -> None:
        """Open the tracker's run of a stage."""

    @abstractmethod
    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a step."""

    @abstractmethod
    def log_rollouts(self, step: int, rows: Sequence[TextRow]) -> None:
        """Log a table of rollouts of a step."""

    @abstractmethod
    def log_result(
        self, numbers: Mapping[str, float], tables: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        """Log a finished stage's numbers and tables."""

    @abstractmethod
    def end(self, failed: bool) -> None:
        """Close the tracker's run, so that its data is on disk."""

    @hookimpl
    def stage_started(self, run: RunInfo, stage_id: str) -> None:
        self._close(failed=False)
        self.begin(run, stage_id)
        self._open = stage_id

    @hookimpl
    def stage_progress(self, stage_id: str, step: int, metrics: Mapping[str, float]) -> None:
        if stage_id == self._open and metrics:
            self.log_metrics(step, metrics)

    @hookimpl
    def rollouts_scored(self, stage_id: str, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        if stage_id == self._open and self._rollouts:
            self.log_rollouts(step, rollout_rows(records[: self._rollouts]))

    @hookimpl
    def stage_finished(self, stage_id: str, result: StageResult) -> None:
        if stage_id == self._open:
            tables = result.metrics.get("tables", {})
            numbers = {n: float(v) for n, v in result.metrics.items() if isinstance(v, int | float)}
            self.log_result(numbers, tables)
            self._close(failed=False)

    @hookimpl
    def run_finished(self, error: BaseException | None) -> None:
        self._close(failed=error is not None)

    def _close(self, failed: bool) -> None:
        if self._open is not None:
            self._open = None
            self.end(failed)


def rollout_rows(records: Sequence[Mapping[str, Any]]) -> list[TextRow]:
    """Return rollouts as rows with the same columns: texts, reward, and each entry's value and explanation."""
    entries = dict.fromkeys(name for record in records for name in record.get("scores", {}))
    rows: list[TextRow] = []
    for record in records:
        columns = record.get("columns") or {}
        row: TextRow = {
            "prompt": _text(message_text(record["prompt"])),
            "completion": _text(completion_text(record["completion"])),
            "reference": _text(columns.get("reference")),
            "reward": record.get("reward"),
            "advantage": record.get("advantage"),
            "tokens": record.get("completion_tokens"),
        }
        for name in entries:
            score = record.get("scores", {}).get(name, {})
            row[name] = score.get("value")
            row[f"{name}: explanation"] = _text(score.get("failure") or score.get("explanation"))
        rows.append(row)
    return rows


def _text(value: Any) -> str:
    """Return a value as text that any store can keep: cut, and without lone surrogates."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode("utf-8")
