"""Compute the memory of a GRPO stage on a GPU, from its options, without a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from guerdon.errors import UsageError, one_line
from guerdon.grpo.memory import Rollouts, StepSettings, cache_bytes, step_memory
from guerdon.grpo.micro_batch import StepOptions
from guerdon.models import load_config
from guerdon.options.trl import GRPO, generation_batch, option_values
from guerdon.stage import Model

__all__ = ["plan_memory"]


def plan_memory(
    model: Model,
    options: Mapping[str, Any],
    step: StepOptions,
    adapters: Any,
    *,
    prompt_tokens: int,
    device_bytes: int,
    processes: int,
) -> dict[str, dict[str, int]]:
    """Return the bytes of each part on each device: while rollouts are generated, and in an update.

    All completions have the longest length, so a real step takes less.

    Args:
        model: The policy at the start.
        options: TRL's options, by TRL's names.
        step: Which parts of the step guerdon computes.
        adapters: A ``peft.LoraConfig``, or ``None`` to train all weights.
        prompt_tokens: The length of each prompt.
        device_bytes: The memory of each device.
        processes: The processes of the launch, with one device each.

    Raises:
        UsageError: The step is TRL's own, or the model is sharded: these are not computed.
    """
    values = option_values(GRPO, options)
    if not step.fused_loss:
        raise UsageError("the memory of TRL's own loss is not computed. Set fused_loss to true.")
    if values["fsdp"] or values["deepspeed"]:
        raise UsageError(
            "the memory of a sharded model is not computed. Leave out fsdp and deepspeed, and divide the weights, the "
            "gradients and the optimizer's state by the number of processes."
        )
    config = load_config(model)
    longest, rows = _longest(values, step, prompt_tokens, processes), values["per_device_train_batch_size"]
    settings = StepSettings(
        optimizer=partial(_optimizer, values),
        dtype=_dtype(model, values),
        autocast=_autocast(values),
        checkpointing=values["gradient_checkpointing"],
        accumulates=values["gradient_accumulation_steps"] > 1 or len(longest.completions) < rows,
        packed=step.pack_sequences,
        adapters=adapters,
        device_bytes=device_bytes,
    )
    memory = step_memory(config, longest, settings)
    held = {"weights": memory.weights, "optimizer": memory.optimizer}
    if values["beta"] and adapters is None:
        held["reference model"] = memory.weights
    update = {**held, "gradients": memory.gradients, "micro-batch": memory.micro_batch}
    if processes > 1:
        update["gradients to exchange"] = memory.gradients
    rollouts = dict(held)
    if not values["use_vllm"]:
        tokens = _generated(values, processes) * (prompt_tokens + values["max_completion_length"])
        rollouts["keys and values"] = cache_bytes(config, tokens, settings)
    elif values["vllm_mode"] == "colocate":
        rollouts["vLLM"] = int(values["vllm_gpu_memory_utilization"] * device_bytes)
        if not values["vllm_enable_sleep_mode"]:
            update["vLLM"] = rollouts["vLLM"]
    return {"rollouts": rollouts, "update": update}


def _dtype(model: Model, values: Mapping[str, Any]) -> torch.dtype:
    name = (values["model_init_kwargs"] or {}).get("dtype", model.dtype)
    dtype = getattr(torch, "float32" if name == "auto" else str(name).removeprefix("torch."))
    assert isinstance(dtype, torch.dtype)
    return dtype


def _autocast(values: Mapping[str, Any]) -> torch.dtype | None:
    if values["fp16"]:
        return torch.float16
    return None if values["bf16"] is False else torch.bfloat16


def _optimizer(values: Mapping[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of TRL's options.

    Raises:
        UsageError: It needs a library that is not installed, or a GPU.
    """
    names = ("optim", "optim_args")
    arguments = TrainingArguments("plan", use_cpu=True, **{name: values[name] for name in names})
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        made: torch.optim.Optimizer = kind(parameters, **options)
    except Exception as error:  # each optimizer's library has its own
        raise UsageError(
            f"the memory of the optimizer '{values['optim']}' is not computed: {one_line(error)} Compute with one of "
            "torch's: --set stages.ID.params.optim=adamw_torch_fused."
        ) from error
    return made


def _longest(values: Mapping[str, Any], step: StepOptions, prompt_tokens: int, processes: int) -> Rollouts:
    """Return what goes through the model at once, with completions that all have the longest length.

    TRL mixes the completions that are generated together, so a micro-batch has as many prompts as it can.
    """
    rows, longest = values["per_device_train_batch_size"], values["max_completion_length"]
    groups = -(-_generated(values, processes) // values["num_generations"])

    def prompts_of(count: int) -> int:
        return min(count, groups) if step.share_prefix else count

    budget = step.max_tokens_per_micro_batch
    if budget is not None:
        fits = [
            count
            for count in range(1, rows + 1)
            if prompts_of(count) * prompt_tokens + count * longest <= budget
        ]
        rows = max(fits, default=1)
    prompts = prompts_of(rows)
    return Rollouts(
        prompts=[prompt_tokens] * prompts,
        completions=[longest] * rows,
        prompt_of=[row % prompts for row in range(rows)],
    )


def _generated(values: Mapping[str, Any], processes: int) -> int:
    """Return how many completions each process generates together."""
    return -(-generation_batch(values, processes) // processes)
