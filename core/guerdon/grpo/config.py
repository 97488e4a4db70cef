"""Build TRL's configuration of a GRPO stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl.trainer.grpo_config import GRPOConfig

from guerdon.options.trl import GRPO, STAGE_DEFAULTS
from guerdon.training.options import trl_config


def grpo_config(options: Mapping[str, Any], work: Path, seed: int) -> GRPOConfig:
    """Return TRL's configuration for a GRPO stage.

    Args:
        options: TRL's options, by TRL's names.
        work: The folder for checkpoints.
        seed: The run's seed.

    Raises:
        ParamsError: TRL refuses the options.
    """
    return trl_config(
        GRPOConfig, {**STAGE_DEFAULTS[GRPO], **options}, work, seed, remove_unused_columns=False
    )
