"""The GRPO engine: TRL's trainer with a rubric for its rewards, resumable checkpoints and fast rollouts on CPU.

For stage plugins; needs the extra ``train``.
"""

from guerdon.grpo.checkpoints import CheckpointMarker, newest_checkpoint
from guerdon.grpo.data import rows_dataset
from guerdon.grpo.progress import ReportProgress
from guerdon.grpo.trainer import RubricGRPOTrainer

__all__ = ["CheckpointMarker", "ReportProgress", "RubricGRPOTrainer", "newest_checkpoint", "rows_dataset"]
