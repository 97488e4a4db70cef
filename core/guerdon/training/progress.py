"""Connect a transformers Trainer with its run: progress for the hooks, and stop requests for the trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ReportProgress(TrainerCallback):
    """Reports every step, with metrics if the step is logged.

    The first report comes before the first step and names the step that training resumes from.

    Args:
        report: Takes the step, the total of steps, and the metrics: ``context.progress``.
    """

    def __init__(self, report: Callable[[int, int, Mapping[str, float]], None]) -> None:
        self._report = report

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._report_step(state, {})

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._report_step(state, {})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        # the trainer's final log covers only the part since the resume
        if logs and "train_runtime" not in logs:
            self._report_step(state, {k: v for k, v in logs.items() if isinstance(v, int | float)})

    def _report_step(self, state: TrainerState, metrics: Mapping[str, float]) -> None:
        if state.is_world_process_zero:
            self._report(state.global_step, state.max_steps, metrics)


class StopAfterStep(TrainerCallback):
    """Saves a checkpoint and ends training after the step in which a stop was requested in any process.

    Args:
        requested: Returns whether a stop was requested in this process.
    """

    def __init__(self, requested: Callable[[], bool]) -> None:
        self._requested = requested
        self.stopped = False
        """Whether training was ended."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self._requested_anywhere() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = control.should_training_stop = True

    def _requested_anywhere(self) -> bool:
        process = PartialState()
        if process.num_processes == 1:
            return self._requested()
        count = torch.tensor(int(self._requested()), device=process.device)
        return bool(reduce(count, "sum"))
