"""TRL's options as a stage's params: which a manifest may set, and what guerdon makes of those that it leaves open."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import torch
from pydantic import BeforeValidator
from transformers import TrainingArguments

from guerdon.errors import ParamsError

KEPT_CHECKPOINTS = 2
"""The newest, and the one before for the case that the newest is damaged."""

_EVALUATE = (
    "Add a stage with 'use: evaluate', 'init: [base, stage:<id>]' and data of 'split: heldout'. To evaluate on the "
    "way, split the training into stages, each with 'init: stage:<the one before>'"
)

OWNED = {
    "output_dir": "the run's folder decides it",
    "seed": "set the manifest's 'seed'",
    "data_seed": "set the manifest's 'seed'",
    "reward_weights": "set the 'weight' of each reward",
    "resume_from_checkpoint": "a killed stage resumes from its newest checkpoint by itself",
    "save_strategy": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "save_only_model": "checkpoints are what a killed stage resumes from; set 'save_steps'",
    "ignore_data_skip": "a resumed stage continues with the data that it has not seen",
    "remove_unused_columns": "verifiers choose their columns",
    "disable_tqdm": "hook plugins show the progress",
    "load_best_model_at_end": f"the model of the last step is the result. {_EVALUATE}",
    "eval_strategy": f"a stage does not evaluate while it trains. {_EVALUATE}",
    "eval_on_start": f"a stage does not evaluate while it trains. {_EVALUATE}",
    "do_train": "the stage trains",
    "do_eval": f"a stage does not evaluate while it trains. {_EVALUATE}",
    "do_predict": "the stage trains",
}
"""TRL's options that are not the manifest's to set, and what to do instead."""

_WIDER_HINTS = {"scale_rewards": str | bool}
"""What TRL takes and its annotations do not say."""

Config = TypeVar("Config", bound=TrainingArguments)


def trl_parameters(config_class: type[TrainingArguments]) -> list[inspect.Parameter]:
    """The options of a config of TRL's as parameters of a stage, those of :data:`OWNED` refused with their reasons."""
    hints = get_type_hints(config_class) | _WIDER_HINTS
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=_refused(field.name) if field.name in OWNED else hints[field.name],
        )
        for field in dataclasses.fields(config_class)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _refused(name: str) -> Any:
    def refuse(_: Any) -> Any:
        raise ValueError(f"'{name}' is not a stage's to set: {OWNED[name]}")

    return Annotated[Any, BeforeValidator(refuse)]


def trl_config(
    config_class: type[Config], options: Mapping[str, Any], work: Path, seed: int, **decided: Any
) -> Config:
    """TRL's configuration for a stage that can be killed at any moment.

    On a machine without an accelerator, mixed precision and gradient checkpointing are off unless they are asked for:
    both only cost time there.

    Args:
        config_class: TRL's ``GRPOConfig``, ``SFTConfig`` and so on.
        options: What the manifest sets, by TRL's names, over the stage's own defaults; ``save_steps`` among them.
        work: Where checkpoints go.
        seed: The run's.
        **decided: What the stage decides.

    Raises:
        ParamsError: TRL refuses the options, or they leave nothing to resume from.
    """
    merged: dict[str, Any] = {"save_total_limit": KEPT_CHECKPOINTS, **options}
    if not torch.accelerator.is_available() or merged.get("use_cpu"):
        without = {"bf16": False, "gradient_checkpointing": False, "dataloader_pin_memory": False}
        # Accelerate would leave the processes of a launch strangers to each other if nobody said that CPUs are meant.
        merged = {"use_cpu": True, **without, **merged}
    merged.pop("enable_jit_checkpoint", None)  # every stage saves a checkpoint on a signal
    keeps = merged["save_total_limit"]
    if merged["save_steps"] <= 0 or (keeps is not None and keeps < 1):
        raise ParamsError(
            f"save_steps is {merged['save_steps']} and save_total_limit is {keeps}. Give save_steps a number above 0, "
            "and save_total_limit 1 or more, or null to keep all checkpoints."
        )
    try:
        return config_class(output_dir=str(work), seed=seed, disable_tqdm=True, **decided, **merged)
    except (TypeError, ValueError) as error:
        raise ParamsError(f"TRL refuses the options of {config_class.__name__}: {error}") from error
