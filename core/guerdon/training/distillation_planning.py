"""Compute the memory of a distillation on a GPU from TRL's options, without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig
from trl.kernels import chunked_divergence
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

from guerdon.models import load_config
from guerdon.options.trl import DISTILLATION, option_values
from guerdon.stage import Model
from guerdon.training.memory import StepMemory, StepSettings, autocast, empty_model, step_memory
from guerdon.training.planning import (
    Rows,
    check_whole,
    frozen_model,
    inputs_of,
    kernels_of_card,
    rollout_parts,
    settings_of,
    update_parts,
)

__all__ = ["distillation_step_memory", "plan_distillation"]


def plan_distillation(
    student: Model,
    teacher: Model,
    options: Mapping[str, Any],
    adapters: Any,
    *,
    prompt_tokens: int,
    device_bytes: int,
    processes: int,
) -> dict[str, dict[str, int]]:
    """Return the bytes of each part on each device: while the student samples, and in an update.

    All completions have the longest length, so a real step takes less.

    Args:
        student: The student at the start.
        teacher: The teacher.
        options: TRL's options, by TRL's names.
        adapters: A ``peft.LoraConfig``, or ``None`` to train all weights.
        prompt_tokens: The length of each prompt.
        device_bytes: The memory of each device.
        processes: The processes of the launch, with one device each.

    Raises:
        UsageError: The model is sharded: this is not computed.
    """
    values = option_values(DISTILLATION, options)
    check_whole(values)
    config, longest = load_config(student), values["max_completion_length"]
    settings = StepSettings(**settings_of(student, values, adapters))
    batch = values["per_device_train_batch_size"]
    memory = distillation_step_memory(
        config, Rows(batch, prompt_tokens + longest), longest, settings, frozen_model(teacher, settings)
    )
    return rollout_parts(
        config,
        settings,
        values,
        update_parts(memory, processes, frozen="teacher"),
        completions=batch * values["gradient_accumulation_steps"],
        tokens=prompt_tokens + longest,
        device_bytes=device_bytes,
    )


def distillation_step_memory(
    config: PretrainedConfig, rows: Rows, longest: int, settings: StepSettings, teacher: Any
) -> StepMemory:
    """Return the memory of a step of TRL's ``DistillationTrainer``.

    Args:
        config: The student's configuration; no weights are read.
        rows: The micro-batch: the prompts with their completions.
        longest: The tokens of each completion.
        settings: The rest.
        teacher: The teacher, from ``frozen_model``.
    """
    model = empty_model(config, settings)
    student = model.get_base_model() if hasattr(model, "get_base_model") else model

    def hidden_of(policy: Any) -> torch.Tensor:
        hidden: torch.Tensor = policy.base_model(**inputs_of(rows), use_cache=False).last_hidden_state
        return hidden[:, -longest - 1 : -1].flatten(0, 1)

    def backpropagate() -> None:
        with autocast(settings):
            hidden = hidden_of(student)
            with torch.no_grad():
                taught = hidden_of(teacher)
            head, other_head = student.get_output_embeddings(), teacher.get_output_embeddings()
            divergence, _ = ChunkedDivergenceFunction.apply(  # type: ignore[no-untyped-call]
                hidden, head.weight, head.bias, taught, other_head.weight, other_head.bias, 1.0
            )
            loss = divergence.sum()
        del hidden, taught, divergence
        loss.backward()

    kernels = ("_stats_tile", "_backward_tile", "_project", "_addmm_fp32")
    with kernels_of_card(chunked_divergence, *kernels):
        return step_memory(model, settings, backpropagate, [teacher])
