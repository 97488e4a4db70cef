"""Show a run's progress: a bar for each stage on a terminal, a regular line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from guerdon.hookspecs import Alarm, RunInfo, hookimpl

LINE_EVERY_S = 30.0
"""The interval of lines in seconds if there is no terminal."""

_SHOWN = {
    "reward": "reward",
    "completions/mean_length": "length",
    "accuracy": "accuracy",
    "mean_token_accuracy": "accuracy",
}
"""Metrics, with their labels."""

_OF_A_SCORER = ("rewards/", "/mean")
_FAILURES = ("rewards/", "/failure_rate")


class Progress:
    """Shows each stage's progress on standard error: step, time, reward, length, failures, value of each verifier.

    Args:
        line_every_s: Seconds between lines where there is no terminal.
    """

    def __init__(self, line_every_s: float = LINE_EVERY_S) -> None:
        self._console = Console(stderr=True)
        self._every = line_every_s
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._started = self._last_line = 0.0
        self._first: tuple[int, float] | None = None
        """The step and the time of the stage's first report, from which the time per step is computed."""
        self._shown = ""

    @hookimpl
    def stage_started(self, stage_id: str, resumed: bool) -> None:
        self._stage, self._first, self._shown = stage_id, None, ""
        self._started = self._last_line = time.monotonic()
        self._print(f"{stage_id}: {'resumes' if resumed else 'starts'}")
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                _Times(),
                TextColumn("{task.fields[shown]}", markup=False),
            )
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._task = self._bars.add_task(stage_id, total=None, shown="")
            self._bars.start()

    @hookimpl
    def stage_progress(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        self._shown = _shown(metrics) or self._shown
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=step, total=total, shown=self._shown)
            return
        if now - self._last_line >= self._every:
            self._last_line = now
            self._print(self._line(step, total, now))

    @hookimpl
    def alarm_raised(self, stage_id: str, alarm: Alarm) -> None:
        self._print(f"alarm: {stage_id}, step {alarm.step}: {alarm.message}")

    @hookimpl
    def stage_finished(self, stage_id: str, seconds: float) -> None:
        self._stop()
        self._print(f"{stage_id}: finished in {_duration(seconds)}")

    @hookimpl
    def stage_skipped(self, stage_id: str) -> None:
        self._print(f"{stage_id}: already finished")

    @hookimpl
    def run_finished(self, run: RunInfo) -> None:
        self._stop()

    def _line(self, step: int, total: int, now: float) -> str:
        elapsed = now - self._started
        first_step, first_time = self._first or (step, now)
        done = step - first_step
        left = f", left {_duration((now - first_time) / done * (total - step))}" if done > 0 else ""
        shown = f", {self._shown}" if self._shown else ""
        return f"{self._stage}: step {step}/{total}, elapsed {_duration(elapsed)}{left}{shown}"

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class _Times(ProgressColumn):
    """Elapsed time and time left, each with its name."""

    def render(self, task: Task) -> Text:
        elapsed = f"elapsed {_duration(task.elapsed or 0.0)}"
        left = "" if task.time_remaining is None else f" left {_duration(task.time_remaining)}"
        return Text(elapsed + left)


def _shown(metrics: Mapping[str, float]) -> str:
    parts = [f"{label} {metrics[name]:.3g}" for name, label in _SHOWN.items() if name in metrics]
    failures = [value for name, value in metrics.items() if _scorer(name, _FAILURES) is not None]
    if failures and max(failures) > 0:
        parts.append(f"failed {max(failures):.0%}")
    values = {_scorer(name, _OF_A_SCORER): value for name, value in metrics.items()}
    named = {name: value for name, value in values.items() if name is not None and value is not None}
    if len(named) > 1:  # with one verifier, its value is the reward
        parts += [f"{name} {value:.3g}" for name, value in named.items()]
    return ", ".join(parts)


def _scorer(metric: str, form: tuple[str, str]) -> str | None:
    """Return the verifier or reward of a metric, if the metric has the form."""
    start, end = form
    if metric.startswith(start) and metric.endswith(end):
        return metric.removeprefix(start).removesuffix(end)
    return None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
