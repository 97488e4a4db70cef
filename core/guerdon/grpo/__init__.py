"""The GRPO engine: TRL's trainer with a rubric for its rewards, resumable checkpoints and fast rollouts on CPU.

For stage plugins. What is imported from here is loaded when it is asked for: most of it needs the extra ``train``, and
importing a module such as :mod:`guerdon.sampling.sampling` loads neither torch nor TRL.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guerdon.grpo.fused_trainer import FusedGRPOTrainer
    from guerdon.grpo.micro_batch import StepOptions
    from guerdon.grpo.trainer import RubricGRPOTrainer
    from guerdon.training.checkpoints import ResumableTrainer, check_finished, newest_checkpoint, rotate
    from guerdon.training.data import rows_dataset
    from guerdon.training.progress import ReportProgress, StopAfterStep

_MODULES = {
    "FusedGRPOTrainer": "fused_trainer",
    "ReportProgress": "progress",
    "ResumableTrainer": "checkpoints",
    "RubricGRPOTrainer": "trainer",
    "StepOptions": "step",
    "StopAfterStep": "progress",
    "check_finished": "checkpoints",
    "newest_checkpoint": "checkpoints",
    "rotate": "checkpoints",
    "rows_dataset": "data",
}

__all__ = [
    "FusedGRPOTrainer",
    "ReportProgress",
    "ResumableTrainer",
    "RubricGRPOTrainer",
    "StepOptions",
    "StopAfterStep",
    "check_finished",
    "newest_checkpoint",
    "rotate",
    "rows_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
