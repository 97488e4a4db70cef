"""TRL's configuration of a GRPO stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl.trainer.grpo_config import GRPOConfig

from guerdon.grpo.options import trl_config
from guerdon.trl_options import GRPO, STAGE_DEFAULTS


def grpo_config(options: Mapping[str, Any], work: Path, seed: int) -> GRPOConfig:
    """TRL's configuration for a GRPO stage.

    Checkpoints are saved at steps that begin with a generation, because a resumed run generates anew.

    Args:
        options: TRL's options, by TRL's names.
        work: Where checkpoints go.
        seed: The run's.

    Raises:
        ParamsError: TRL refuses the options.
    """
    config = trl_config(
        GRPOConfig, {**STAGE_DEFAULTS[GRPO], **options}, work, seed, remove_unused_columns=False
    )
    config.save_steps = _align(int(config.save_steps), config)
    return config


def _align(save_steps: int, config: GRPOConfig) -> int:
    """The next number of steps after which no generated batch is half used."""
    assert config.steps_per_generation is not None  # TRL derives it
    generate_every = config.steps_per_generation * config.num_iterations
    unit = generate_every // math.gcd(generate_every, config.gradient_accumulation_steps)
    return math.ceil(save_steps / unit) * unit
