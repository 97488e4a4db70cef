"""Which of TRL's GRPO options a manifest may set, and what guerdon makes of those that it leaves open."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch
from pydantic import BeforeValidator
from trl.trainer.grpo_config import GRPOConfig

from guerdon.errors import ParamsError

_SAVE_STEPS = 20
_KEPT_CHECKPOINTS = 2

OWNED = {
    "output_dir": "the run's folder decides it",
    "seed": "set the manifest's 'seed'",
    "data_seed": "set the manifest's 'seed'",
    "reward_weights": "set the 'weight' of each reward",
    "resume_from_checkpoint": "a killed stage resumes from its newest checkpoint by itself",
    "save_strategy": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "save_only_model": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "ignore_data_skip": "a resumed stage goes on with the data that it has not seen",
    "remove_unused_columns": "verifiers choose their columns",
    "disable_tqdm": "hook plugins show the progress",
    "load_best_model_at_end": "judge checkpoints in a stage that uses 'evaluate'",
    "eval_strategy": "judge checkpoints in a stage that uses 'evaluate'",
    "eval_on_start": "judge checkpoints in a stage that uses 'evaluate'",
    "do_train": "the stage trains",
    "do_eval": "judge checkpoints in a stage that uses 'evaluate'",
    "do_predict": "the stage trains",
}
"""TRL's options that are not the manifest's to set, and what to do instead."""


def trl_parameters() -> list[inspect.Parameter]:
    """TRL's options as parameters of a stage, those of :data:`OWNED` refused with their reasons."""
    hints = get_type_hints(GRPOConfig)
    hints["scale_rewards"] = str | bool
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=_refused(field.name) if field.name in OWNED else hints[field.name],
        )
        for field in dataclasses.fields(GRPOConfig)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _refused(name: str) -> Any:
    def refuse(_: Any) -> Any:
        raise ValueError(f"'{name}' is not a stage's to set: {OWNED[name]}")

    return Annotated[Any, BeforeValidator(refuse)]


def grpo_config(options: Mapping[str, Any], work: Path, seed: int) -> GRPOConfig:
    """TRL's configuration for a stage.

    On a machine without an accelerator, mixed precision and gradient checkpointing are off unless they are asked for:
    both only cost time there. Checkpoints are saved at steps that begin with a generation, because a resumed run
    generates anew.

    Args:
        options: TRL's options, by TRL's names.
        work: Where checkpoints go.
        seed: The run's.

    Raises:
        ParamsError: TRL refuses the options.
    """
    merged: dict[str, Any] = {
        "logging_steps": 1,
        "save_steps": _SAVE_STEPS,
        "save_total_limit": _KEPT_CHECKPOINTS,
        **options,
    }
    if not torch.accelerator.is_available() or merged.get("use_cpu"):
        merged = {"bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False, **merged}
    if merged["save_steps"] < 1 or merged["save_total_limit"] < _KEPT_CHECKPOINTS:
        raise ParamsError(
            f"save_steps is {merged['save_steps']} and save_total_limit is {merged['save_total_limit']}. A stage "
            f"that can be killed at any moment needs a number of steps, and {_KEPT_CHECKPOINTS} checkpoints or more."
        )
    try:
        config = GRPOConfig(
            output_dir=str(work), seed=seed, remove_unused_columns=False, disable_tqdm=True, **merged
        )
    except (TypeError, ValueError) as error:
        raise ParamsError(f"TRL refuses the GRPO options: {error}") from error
    config.save_steps = _align(int(config.save_steps), config)
    return config


def _align(save_steps: int, config: GRPOConfig) -> int:
    """The next number of steps after which no generated batch is half used."""
    assert config.steps_per_generation is not None  # TRL derives it
    generate_every = config.steps_per_generation * config.num_iterations
    unit = generate_every // math.gcd(generate_every, config.gradient_accumulation_steps)
    return math.ceil(save_steps / unit) * unit
