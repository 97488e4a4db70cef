"""The GRPO engine: TRL's trainer with a rubric for its rewards, a fused loss, and fast rollouts on CPU.

For stage plugins. Requires the extra ``train``.
"""

from guerdon.grpo.fused_trainer import FusedGRPOTrainer
from guerdon.grpo.micro_batch import StepOptions
from guerdon.grpo.trainer import RubricGRPOTrainer

__all__ = ["FusedGRPOTrainer", "RubricGRPOTrainer", "StepOptions"]
