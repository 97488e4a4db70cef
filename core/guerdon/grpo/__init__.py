"""The GRPO engine: TRL's trainer with a rubric for its rewards, resumable checkpoints and fast rollouts on CPU.

For stage plugins; needs the extra ``train``.
"""

from guerdon.grpo.checkpoints import ResumableTrainer, check_finished, newest_checkpoint, rotate
from guerdon.grpo.data import rows_dataset
from guerdon.grpo.fused_trainer import FusedGRPOTrainer
from guerdon.grpo.progress import ReportProgress, StopAfterStep
from guerdon.grpo.step import StepOptions
from guerdon.grpo.trainer import RubricGRPOTrainer

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
