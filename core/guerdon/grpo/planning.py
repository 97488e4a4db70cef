"""Compute the memory of a GRPO stage on a GPU, from its options, without a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import UsageError
from guerdon.grpo.memory import GroupStep, Rollouts, group_step_memory
from guerdon.grpo.micro_batch import StepOptions
from guerdon.models import load_config
from guerdon.options.trl import GRPO, generation_batch, option_values
from guerdon.stage import Model
from guerdon.training.planning import check_whole, frozen_model, rollout_parts, settings_of, update_parts

__all__ = ["plan_memory"]


def plan_memory(
    models: Sequence[Model],
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
        models: The policy at the start, and the reference model if it is another one.
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
    check_whole(values)
    policy, *references = models
    config = load_config(policy)
    longest, rows = _longest(values, step, prompt_tokens, processes), values["per_device_train_batch_size"]
    base = settings_of(policy, values, adapters)
    base["accumulates"] |= len(longest.completions) < rows
    settings = GroupStep(**base, packed=step.pack_sequences, device_bytes=device_bytes)
    memory = group_step_memory(config, longest, settings, [frozen_model(one, settings) for one in references])
    if values["beta"] and adapters is None and not references:
        memory = memory._replace(frozen=memory.weights)
    return rollout_parts(
        config,
        settings,
        values,
        update_parts(memory, processes),
        completions=_generated(values, processes),
        tokens=prompt_tokens + values["max_completion_length"],
        device_bytes=device_bytes,
    )


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
