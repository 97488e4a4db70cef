"""The events of a run, as pluggy hooks. A hook plugin implements the events that it needs.

```python
from guerdon.hookspecs import hookimpl

class Bell:
    @hookimpl
    def run_finished(self, error):
        print("the run is over:", error or "all is well")
```

Register it in the entry-point group ``guerdon.hooks`` and select it in a manifest: ``hooks: [{use: bell}]``.
A hook that raises is reported once and left out of the rest of the run; it never stops training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from guerdon.stage import StageResult

__all__ = [
    "HOOKS",
    "SPECS",
    "Alarm",
    "RunInfo",
    "RunSpecs",
    "ScoringSpecs",
    "StageSpecs",
    "hookimpl",
    "hookspec",
]

hookspec = pluggy.HookspecMarker("guerdon")
"""Marks a method as the specification of an event. Plugins do not need it."""

hookimpl = pluggy.HookimplMarker("guerdon")
"""Marks a plugin's method as the implementation of the event of the same name."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that an event belongs to."""

    name: str
    """The manifest's name."""
    directory: Path
    """The run's folder."""
    manifest: Mapping[str, Any]
    """The manifest, without its secrets."""
    stage_ids: Sequence[str]
    """The stages' ids, in the order of execution."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A sign that a training goes wrong. Each metric of a stage raises each kind at most once."""

    kind: str
    """``held_out_falls``, ``length``, ``entropy`` or ``failure_rate``."""
    metric: str
    """The metric's name in ``stage_progress``."""
    step: int
    """The step at which it was found."""
    before: float
    """The metric's mean in the earlier steps."""
    now: float
    """The metric's mean in the last steps."""
    message: str
    """What has changed, from which steps to which, as one line."""


class RunSpecs:
    """Events of the run as a whole."""

    @hookspec
    def run_started(self, run: RunInfo) -> None:
        """Called after the manifest is checked and the run's folder is locked, before the first stage."""

    @hookspec
    def run_finished(self, run: RunInfo, error: BaseException | None) -> None:
        """Called after the last stage, or when ``error`` stops the run."""


class StageSpecs:
    """Events of one stage."""

    @hookspec
    def stage_started(self, run: RunInfo, stage_id: str, resumed: bool) -> None:
        """Called when a stage begins, or resumes from an earlier attempt."""

    @hookspec
    def stage_skipped(self, run: RunInfo, stage_id: str, result: StageResult) -> None:
        """Called for a stage that is already finished from the same inputs."""

    @hookspec
    def stage_progress(
        self, run: RunInfo, stage_id: str, step: int, total: int, metrics: Mapping[str, float]
    ) -> None:
        """Called when a stage has done ``step`` of ``total`` steps, with its metrics."""

    @hookspec
    def alarm_raised(self, run: RunInfo, stage_id: str, alarm: Alarm) -> None:
        """Called when the metrics of a stage say that its training goes wrong."""

    @hookspec
    def stage_finished(self, run: RunInfo, stage_id: str, result: StageResult, seconds: float) -> None:
        """Called when a stage is finished and its output is in place."""


class ScoringSpecs:
    """Events of scoring."""

    @hookspec
    def rollouts_scored(
        self, run: RunInfo, stage_id: str, step: int, records: Sequence[Mapping[str, Any]]
    ) -> None:
        """Called after rollouts are judged, with one record each: prompt, completion, reward and every verdict.

        ``step`` is the step that trains on them, counted from 1.
        """


SPECS = (RunSpecs, StageSpecs, ScoringSpecs)
"""All events, by what they are events of."""

HOOKS: tuple[str, ...] = tuple(name for specs in SPECS for name in vars(specs) if not name.startswith("_"))
"""The names of all events."""
