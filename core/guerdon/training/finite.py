"""End a stage when its loss is NaN or infinite, before the weights are saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from guerdon.errors import StageFailedError


def not_finite(step: int, what: str) -> StageFailedError:
    """Return the error of a training whose numbers are not finite.

    Args:
        step: The step under way, counted from 1.
        what: What was found, and where.
    """
    return StageFailedError(
        f"the loss is not finite at step {step}: {what}. Lower 'learning_rate' or 'max_grad_norm', or start from "
        "weights that are finite."
    )


class FiniteLoss(TrainerCallback):
    """Ends the training of a transformers Trainer whose logged loss or gradient is not finite.

    Its config needs ``logging_nan_inf_filter`` off, because the filter would replace a NaN by the mean so far.
    """

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            if isinstance(value, int | float) and not math.isfinite(value):
                raise not_finite(state.global_step, f"'{name}' is {value}")
