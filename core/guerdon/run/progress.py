"""Report the steps of a stage to the run's listeners, and the alarms that its metrics raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guerdon.hookspecs import Alarm, RunInfo
from guerdon.rubric import Entry
from guerdon.rubric.entry import FirstOf, first_ofs
from guerdon.run.alarms import Watch
from guerdon.run.events import Events
from guerdon.run.log import EVENTS, logged_steps, read_events

__all__ = ["StageProgress"]


class StageProgress:
    """The function ``context.progress`` of one stage.

    Args:
        run: The run.
        stage_id: The stage.
        entries: The entries of its rubric.
        events: The run's listeners.
    """

    def __init__(self, run: RunInfo, stage_id: str, entries: Sequence[Entry], events: Events) -> None:
        self._run = run
        self._stage_id = stage_id
        known: list[Entry | FirstOf] = [*entries, *first_ofs(entries).values()]
        self._trained = [entry.name for entry in known if not entry.is_metric]
        self._held_out = [entry.name for entry in known if entry.is_metric]
        self._events = events
        self._watch: Watch | None = None

    def __call__(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Report a step with its metrics."""
        self._events.emit(
            "stage_progress", run=self._run, stage_id=self._stage_id, step=step, total=total, metrics=metrics
        )
        for alarm in self._alarms(step, metrics):
            self._events.emit("alarm_raised", run=self._run, stage_id=self._stage_id, alarm=alarm)

    def _alarms(self, step: int, metrics: Mapping[str, float]) -> list[Alarm]:
        if not self._trained:  # without a reward, a falling entropy is what training is for
            return []
        if self._watch is not None:
            return self._watch.see(step, metrics)
        if step == 0:
            self._watch = Watch(self._trained, self._held_out)
            return self._watch.see(step, metrics)
        # The stage resumes. The log holds the steps before, and this one.
        log = self._run.directory / EVENTS
        raised = read_events(log, every_step=False).alarms.get(self._stage_id, [])
        watch = self._watch = Watch(self._trained, self._held_out, [alarm.metric for alarm in raised])
        return [alarm for known in logged_steps(log, self._stage_id) for alarm in watch.see(*known)]
