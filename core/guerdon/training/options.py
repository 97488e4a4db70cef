"""Build TRL's configs from a stage's params and guerdon's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import parse_flag_from_env
from transformers import TrainingArguments

from guerdon.errors import ParamsError, UsageError

KEPT_CHECKPOINTS = 2
"""The newest, and the one before in case the newest is damaged."""

Config = TypeVar("Config", bound=TrainingArguments)


def trl_config(
    config_class: type[Config], options: Mapping[str, Any], work: Path, seed: int, **decided: Any
) -> Config:
    """Return TRL's configuration for a stage that can be killed at any moment.

    On a machine without an accelerator, mixed precision and gradient checkpointing are off unless they are requested:
    both only cost time there.

    Args:
        config_class: TRL's ``GRPOConfig``, ``SFTConfig`` and so on.
        options: The manifest's options by TRL's names, over the stage's own defaults; ``save_steps`` among them.
        work: The folder for checkpoints.
        seed: The run's seed.
        **decided: The options that the stage decides.

    Raises:
        ParamsError: TRL refuses the options, or they allow no checkpoint to resume from.
        UsageError: The options ask for a sharded model, and the training runs on CPUs.
    """
    merged: dict[str, Any] = {"save_total_limit": KEPT_CHECKPOINTS, **options}
    if not torch.accelerator.is_available() or merged.get("use_cpu"):
        _refuse_sharding(merged)
        without = {"bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
        # Without ``use_cpu``, Accelerate would not connect the processes of a launch on CPUs.
        merged = {"use_cpu": True, **without, **merged}
    merged.pop("enable_jit_checkpoint", None)  # every stage saves a checkpoint on a signal
    keeps = merged["save_total_limit"]
    if merged["save_steps"] < 1 or (keeps is not None and keeps < 1):
        raise ParamsError(
            f"save_steps is {merged['save_steps']} and save_total_limit is {keeps}. Give save_steps a number above 0, "
            "and save_total_limit 1 or more, or null to keep all checkpoints."
        )
    try:
        return config_class(output_dir=str(work), seed=seed, disable_tqdm=True, **decided, **merged)
    except (TypeError, ValueError) as error:
        raise ParamsError(f"TRL refuses the options of {config_class.__name__}: {error}") from error


def _refuse_sharding(options: Mapping[str, Any]) -> None:
    """Raise if sharding is asked for, which Accelerate ignores on CPUs without a message."""
    ways = {
        "fsdp": ("ACCELERATE_USE_FSDP", "accelerate launch --use_fsdp"),
        "deepspeed": ("ACCELERATE_USE_DEEPSPEED", "accelerate launch --use_deepspeed"),
    }
    for param, (variable, command) in ways.items():
        if options.get(param) or parse_flag_from_env(variable):
            asked = f"the param '{param}'" if options.get(param) else f"`{command}`"
            raise UsageError(
                f"{asked} shards the model, which Accelerate does on accelerators only, and this training runs on the "
                "CPU. Leave it out here."
            )
