"""Compute the memory of a GRPO step with the fused loss, on a machine without a GPU.

Flash attention has the sizes that it has on a card, and the head's buffers are those of the Triton kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PretrainedConfig

from guerdon.grpo.flat_attention import ATTENTION, FlatAttention
from guerdon.grpo.layout import flat_obstacle
from guerdon.kernels.linear_loss import gradient_dtype, tile_rows
from guerdon.training.memory import StepMemory, StepSettings, autocast, empty_model, step_memory

__all__ = ["GroupStep", "Rollouts", "group_step_memory"]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The lengths of a micro-batch in tokens."""

    prompts: Sequence[int]
    """The length of each distinct prompt."""
    completions: Sequence[int]
    prompt_of: Sequence[int]
    """The index of each completion's prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStep(StepSettings):
    """What decides the memory of a GRPO step in addition to the model and the micro-batch."""

    packed: bool = True
    """Whether micro-batches go through the model without padding."""
    device_bytes: int = 80 * 1024**3
    """The device's memory, which decides the size of a tile of logits."""


def group_step_memory(
    config: PretrainedConfig, rollouts: Rollouts, settings: GroupStep, frozen: Sequence[nn.Module] = ()
) -> StepMemory:
    """Return the memory of a GRPO step with the fused loss on one CUDA device of compute capability 8.0 or later.

    Args:
        config: The model's configuration; no weights are read.
        rollouts: The largest micro-batch.
        settings: The rest.
        frozen: Other models that are in memory, from ``empty_model``.
    """
    model = empty_model(config, settings)
    return step_memory(model, settings, partial(_backpropagate, model, rollouts, settings), frozen)


def _backpropagate(model: Any, rollouts: Rollouts, settings: GroupStep) -> None:
    """Run a micro-batch forward and backward."""
    policy = model.get_base_model() if hasattr(model, "get_base_model") else model
    flat = settings.packed and flat_obstacle(policy) is None
    if flat:
        policy.set_attn_implementation(ATTENTION)
    predictors = torch.zeros(sum(rollouts.completions), dtype=torch.int64)
    with autocast(settings):
        inputs = _flat_inputs(rollouts) if flat else _padded_inputs(rollouts)
        output = policy.base_model(**inputs, use_cache=False)
        hidden = output.last_hidden_state.flatten(0, 1).index_select(0, predictors)
        weight = policy.get_output_embeddings().weight
        hidden = hidden.to(settings.autocast or weight.dtype)
        with torch.autocast("cpu", enabled=False):
            loss: Tensor = _HeadBuffers.apply(hidden, weight, settings.device_bytes)  # type: ignore[no-untyped-call]
    del output, hidden
    loss.backward()


def _flat_inputs(rollouts: Rollouts) -> dict[str, Any]:
    fed = [length - 1 for length in rollouts.completions]
    ids = torch.zeros(1, sum(rollouts.prompts) + sum(fed), dtype=torch.int64)
    return {
        "input_ids": ids,
        "position_ids": ids,
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),
        "flat_attention": _CudaAttention(rollouts.prompts, fed, rollouts.prompt_of),
    }


def _padded_inputs(rollouts: Rollouts) -> dict[str, Any]:
    rows, length = len(rollouts.completions), max(rollouts.prompts) + max(rollouts.completions)
    return {
        "input_ids": torch.zeros(rows, length, dtype=torch.int64),
        "attention_mask": torch.ones(rows, 1, length, length, dtype=torch.bool),
    }


class _CudaAttention(FlatAttention):
    """The attention of a card of compute capability 8.0, on fake tensors of the CPU."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        attend = self.attend_padded if query.dtype == torch.float32 else self.attend_flat
        return attend(query[0], key[0], value[0], scaling)[None]


class _HeadBuffers(torch.autograd.Function):
    """The buffers of the fused head with Triton's tiles, without its loop over them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, device_bytes: int) -> Tensor:
        narrow = weight.to(hidden.dtype)
        wide = torch.promote_types(narrow.dtype, torch.float32)
        by_weight = torch.empty_like(narrow, dtype=wide) if weight.requires_grad else None
        ctx.gradients = torch.empty_like(hidden, dtype=gradient_dtype(hidden.dtype)), by_weight
        ctx.dtypes = hidden.dtype, weight.dtype
        rows = min(tile_rows(len(weight), hidden.dtype, device_bytes), len(hidden))
        tile = hidden.new_empty(rows, len(weight))
        del tile
        return hidden.new_zeros((), dtype=wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_weight = ctx.gradients
        ctx.gradients = None
        of_hidden, of_weight = ctx.dtypes
        return by_hidden.to(of_hidden), None if by_weight is None else by_weight.to(of_weight), None
