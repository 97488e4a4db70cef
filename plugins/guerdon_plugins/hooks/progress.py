"""What a person sees while a run goes on: a bar for each stage on a terminal, one line a stage elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from guerdon import StageResult
from guerdon.hookspecs import RunInfo, hookimpl

_SHOWN = ("reward", "loss", "accuracy")
"""The metrics beside the bar, where a stage reports them."""


class Progress:
    """Shows each stage's progress on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    @hookimpl
    def stage_started(self, stage_id: str, resumed: bool) -> None:
        self._console.print(f"{stage_id}: {'goes on' if resumed else 'starts'}", highlight=False)
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[shown]}"),
            )
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._task = self._bars.add_task(stage_id, total=None, shown="")
            self._bars.start()

    @hookimpl
    def stage_progress(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        if self._bars is not None and self._task is not None:
            shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in _SHOWN if name in metrics)
            self._bars.update(self._task, completed=step, total=total)
            if shown:
                self._bars.update(self._task, shown=shown)

    @hookimpl
    def stage_finished(self, stage_id: str, seconds: float) -> None:
        self._stop()
        self._console.print(f"{stage_id}: finished in {seconds:.0f} s", highlight=False)

    @hookimpl
    def stage_skipped(self, stage_id: str, result: StageResult) -> None:
        self._console.print(f"{stage_id}: already finished", highlight=False)

    @hookimpl
    def run_finished(self, run: RunInfo) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
