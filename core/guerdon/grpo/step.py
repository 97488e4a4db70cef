"""One micro-batch's loss through the fused head: what is left out cannot change the gradient."""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guerdon.grpo.flat_attention import ATTENTION
from guerdon.grpo.layout import Layout, flat_layout, flat_obstacle, padded_layout
from guerdon.kernels import LossResult, LossSpec, Tokens, fused_linear_grpo_loss


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What of the step is guerdon's. Each is exact; turning one off gives TRL's way of it."""

    fused_loss: bool = True
    """The head and the loss in one; off, TRL's own loss is used and the other options are off as well."""
    pack_sequences: bool = True
    """Micro-batches go through the model without padding."""
    share_prefix: bool = True
    """A group's prompt goes through the model once; needs ``pack_sequences``."""
    skip_zero_variance: bool = True
    """Completions that cannot change the gradient, above all groups of equal rewards, are left out."""
    lazy_importance_sampling: bool = True
    """Old log-probabilities come from the training forward, or from a pass over what an update leaves for later."""


@dataclass(frozen=True, slots=True)
class Step:
    """A micro-batch, ready for the model."""

    layout: Layout
    target: Tensor
    """The trained tokens [N]."""
    trained: Tensor
    """The trained tokens among the layout's predictors."""
    places: Tensor
    """The trained tokens among TRL's padded completions, flattened."""
    tokens: Tokens
    spec: LossSpec


def add_fused_loss(model: Any) -> None:
    """Let ``model(grpo_step=step)`` give the step's :class:`LossResult`; other calls stay as they are.

    The loss lives inside ``forward``, so the hooks of DDP, FSDP, DeepSpeed and PEFT fire around it.

    Args:
        model: A causal language model with a linear ``lm_head``.
    """
    original = model.forward
    if flat_obstacle(model) is None:
        model.set_attn_implementation(ATTENTION)

    @functools.wraps(original)
    def forward(self: Any, *args: Any, grpo_step: Step | None = None, **kwargs: Any) -> Any:
        if grpo_step is None:
            return original(*args, **kwargs)
        output = self.base_model(**grpo_step.layout.inputs, use_cache=False)
        hidden = output.last_hidden_state.flatten(0, 1)[grpo_step.layout.predictors[grpo_step.trained]]
        head = self.get_output_embeddings()
        result: LossResult = fused_linear_grpo_loss(
            hidden, head.weight, grpo_step.target, grpo_step.tokens, grpo_step.spec, bias=head.bias
        )
        return result

    model.forward = types.MethodType(forward, model)


def head_scales(config: Any) -> dict[str, Any]:
    """The head's scale and soft cap, read off a model's configuration as TRL reads them."""
    scales: dict[str, Any] = {}
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        scales["softcap"] = cap
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (scale := getattr(config, name, None)) is not None:
            return {**scales, "logit_scale": scale}
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        scales["logit_scale"] = divisor if config.model_type == "hyperclovax" else 1 / divisor
    return scales


def make_step(
    inputs: dict[str, Any], weights: Tensor, spec: LossSpec, options: StepOptions, *, flat: bool, skip: bool
) -> Step:
    """Lay out a micro-batch of TRL's.

    Args:
        inputs: TRL's: padded prompts and completions [rows, longest], ``advantages`` [rows] or [rows, longest], and
            the rest.
        weights: Each token's weight in the loss [rows, longest].
        spec: The objective, with the head's scales.
        options: Which parts are on.
        flat: Whether the model takes flat batches.
        skip: Whether a completion without an advantage cannot change the gradient.
    """
    completion_mask = inputs["completion_mask"]
    mask = (completion_mask * inputs.get("tool_mask", 1)).bool()
    advantages = inputs["advantages"].view(len(mask), -1)
    kept = mask.any(1)
    if skip and options.skip_zero_variance:
        kept = kept & (advantages != 0).any(1)
    if not kept.any():  # a loss that is no part of the graph would leave other processes waiting
        kept = torch.zeros_like(kept)
        kept[completion_mask.sum(1).argmin()] = True
    places = (mask & kept[:, None]).flatten().nonzero()[:, 0]
    mask = mask[kept]
    padded = [
        inputs[name][kept] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    ]
    layout = flat_layout(*padded, share=options.share_prefix) if flat else padded_layout(*padded)
    trained = mask[padded[3].bool()].nonzero()[:, 0]
    rows = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)

    def flatten(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[kept].expand_as(mask)[mask]

    tokens = Tokens(
        advantage=advantages[kept].expand_as(mask)[mask],
        weight=weights[kept][mask],
        sequence=rows[mask],
        old_logp=flatten(inputs.get("old_per_token_logps")),
        ref_logp=flatten(inputs.get("ref_per_token_logps")),
        is_ratio=flatten(inputs.get("importance_sampling_ratio")),
        sampling_logp=flatten(inputs.get("sampling_per_token_logps")),
        entropy_weight=flatten(inputs.get("entropy_weight")),
    )
    return Step(layout, padded[2][mask], trained, places, tokens, spec)
