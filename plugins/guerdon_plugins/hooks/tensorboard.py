"""Write the metrics of all stages for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guerdon import StageResult
from guerdon.errors import library_of
from guerdon.hookspecs import RunInfo, hookimpl


class TensorBoard:
    """Writes each stage's metrics to ``tensorboard/`` in the run folder, one run of TensorBoard's a stage.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        with library_of("hooks 'tensorboard'", extra="tensorboard"):
            from tensorboard.summary import Writer
        self._writer_class = Writer
        self._writers: dict[str, Any] = {}

    @hookimpl
    def stage_progress(self, run: RunInfo, stage_id: str, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer(run, stage_id).add_scalar(name, value, step)

    @hookimpl
    def stage_finished(self, run: RunInfo, stage_id: str, result: StageResult) -> None:
        for name, value in result.metrics.items():
            if isinstance(value, int | float):
                self._writer(run, stage_id).add_scalar(f"result/{name}", value, 0)
        self._close(stage_id)

    @hookimpl
    def run_finished(self) -> None:
        for stage_id in list(self._writers):
            self._close(stage_id)

    def _writer(self, run: RunInfo, stage_id: str) -> Any:
        if stage_id not in self._writers:
            self._writers[stage_id] = self._writer_class(str(run.directory / "tensorboard" / stage_id))
        return self._writers[stage_id]

    def _close(self, stage_id: str) -> None:
        if stage_id in self._writers:
            self._writers.pop(stage_id).close()
