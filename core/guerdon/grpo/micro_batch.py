"""Compute one micro-batch's loss through the fused head, without rows that cannot change the gradient."""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guerdon.grpo.flat_attention import ATTENTION
from guerdon.grpo.host import download, upload
from guerdon.grpo.layout import Batch, Cut, Layout, distinct, flat_layout, padded_layout
from guerdon.grpo.token_budget import flat_parts, padded_parts
from guerdon.kernels import LossResult, LossSpec, Tokens, fused_linear_grpo_loss


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Which parts of the step guerdon computes. Each is exact; turning one off uses TRL's computation."""

    fused_loss: bool = True
    """Compute the head and the loss together. If off, TRL's own loss is used and the other options are off too."""
    pack_sequences: bool = True
    """Micro-batches go through the model without padding."""
    share_prefix: bool = True
    """A group's prompt goes through the model once; needs ``pack_sequences``."""
    skip_zero_variance: bool = True
    """Completions that cannot change the gradient are left out, mainly those of groups with equal rewards."""
    lazy_importance_sampling: bool = True
    """Old log-probabilities come from the training forward, or from a pass over the rollouts that an update leaves."""
    max_tokens_per_micro_batch: int | None = None
    """The most tokens that go through the model at once; a micro-batch with more goes in parts. ``None`` for no bound.
    """


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A micro-batch, or a part of one, ready for the model."""

    layout: Layout
    target: Tensor
    """The ids of the trained tokens [N]."""
    places: Tensor
    """The places of the trained tokens in TRL's padded completions, flattened."""
    tokens: Tokens
    spec: LossSpec

    @property
    def size(self) -> int:
        """Return how many tokens go through the model, padding included."""
        return int(self.layout.inputs["input_ids"].numel())


def add_fused_loss(model: Any, *, flat: bool) -> None:
    """Make ``model(grpo_step=step)`` return the step's ``LossResult``; other calls do not change.

    The loss is inside ``forward``, so that the hooks of DDP, FSDP, DeepSpeed and PEFT run around it.

    Args:
        model: A causal language model with a linear ``lm_head``.
        flat: Whether it gets flat batches.
    """
    original = model.forward
    if flat:
        model.set_attn_implementation(ATTENTION)

    @functools.wraps(original)
    def forward(self: Any, *args: Any, grpo_step: MicroBatch | None = None, **kwargs: Any) -> Any:
        if grpo_step is None:
            return original(*args, **kwargs)
        output = self.base_model(**grpo_step.layout.inputs, use_cache=False)
        states = output.last_hidden_state.flatten(0, 1)
        # Tokens after one prompt share its last place. index_select sums their gradients without a sort.
        hidden = states.index_select(0, grpo_step.layout.predictors.to(states.device))
        head = self.get_output_embeddings()
        # differs from the last layer's device if the model is split over devices
        device = head.weight.device
        result: LossResult = fused_linear_grpo_loss(
            hidden.to(device),
            head.weight,
            grpo_step.target.to(device),
            grpo_step.tokens.to(device),
            grpo_step.spec,
            bias=head.bias,
        )
        return result

    model.forward = types.MethodType(forward, model)


def head_scales(config: Any) -> dict[str, Any]:
    """Return the head's scale and soft cap from a model's configuration, as TRL reads them."""
    scales: dict[str, Any] = {}
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        scales["softcap"] = cap
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (scale := getattr(config, name, None)) is not None:
            return {**scales, "logit_scale": scale}
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        scales["logit_scale"] = divisor if config.model_type == "hyperclovax" else 1 / divisor
    return scales


def make_parts(
    inputs: dict[str, Any],
    weights: Tensor,
    spec: LossSpec,
    options: StepOptions,
    *,
    flat: bool,
    skip: bool,
    positions: bool,
) -> list[MicroBatch]:
    """Lay out a micro-batch of TRL's, in parts of at most ``max_tokens_per_micro_batch`` tokens.

    The losses of the parts add up to that of the micro-batch, because a completion is in one part and the weights are
    those of the micro-batch.

    Args:
        inputs: TRL's: padded prompts and completions [rows, longest], ``advantages`` [rows] or [rows, longest], and
            the rest.
        weights: Each token's weight in the loss [rows, longest].
        spec: The objective, with the head's scales.
        options: Which parts are on.
        flat: Whether the model takes flat batches.
        skip: Whether a completion without an advantage cannot change the gradient.
        positions: Whether the model takes ``position_ids``.
    """
    batch = _read(inputs, skip=skip and options.skip_zero_variance)
    share, budget = options.share_prefix, options.max_tokens_per_micro_batch
    if budget is None:
        batches, cut = [batch], None
    else:
        cut = Cut(prompts=positions)
        if flat:
            prompt_of = distinct(batch.prompts)[1] if share else np.arange(len(batch.rows))
            fed = np.maximum(batch.lengths - 1, 0)
            parts = flat_parts(prompt_of, batch.prompt_lengths, fed, budget)
        else:
            whole = np.full_like(batch.prompt_lengths, batch.prompts.shape[1])
            parts = padded_parts(batch.prompt_lengths if positions else whole, batch.lengths, budget)
        batches = [batch.take(np.sort(rows)) for rows in parts]
    return [
        _lay_out(
            part,
            flat_layout(part, inputs, share=share) if flat else padded_layout(part, inputs, cut),
            inputs,
            weights,
            spec,
        )
        for part in batches
    ]


def _lay_out(
    batch: Batch, layout: Layout, inputs: dict[str, Any], weights: Tensor, spec: LossSpec
) -> MicroBatch:
    shape = inputs["completion_ids"].shape
    row, place = np.nonzero(batch.trained)
    places, rows = upload(
        inputs["completion_ids"].device, batch.rows[row] * shape[1] + place, batch.rows[row]
    )

    def trained(value: Tensor | None) -> Tensor | None:
        if value is None:
            return None
        value = value.view(shape[0], -1)
        picked: Tensor = value[rows, 0] if value.shape[1] == 1 else value.flatten()[places]
        return picked

    advantage = trained(inputs["advantages"])
    assert advantage is not None
    tokens = Tokens(
        advantage=advantage,
        weight=weights[rows, places % shape[1]],
        sequence=rows,
        old_logp=trained(inputs.get("old_per_token_logps")),
        ref_logp=trained(inputs.get("ref_per_token_logps")),
        is_ratio=trained(inputs.get("importance_sampling_ratio")),
        sampling_logp=trained(inputs.get("sampling_per_token_logps")),
        entropy_weight=trained(inputs.get("entropy_weight")),
    )
    target = inputs["completion_ids"].flatten()[places]
    return MicroBatch(layout, target, places, tokens, spec)


def join(parts: Sequence[MicroBatch], results: Sequence[LossResult]) -> tuple[Tokens, Tensor, LossResult]:
    """Return the tokens of a micro-batch, their places, and its result, from those of its parts.

    Tokens are in the order of the micro-batch's rows. The loss carries the gradients of the last part alone: those of
    the others are in the weights already.
    """
    if len(parts) == 1:
        return parts[0].tokens, parts[0].places, results[0]
    places = torch.cat([part.places for part in parts])
    order = places.argsort()
    places = places[order]
    tokens = Tokens.join([part.tokens for part in parts], order)
    logp, entropy = (
        torch.cat([getattr(one, name) for one in results])[order] for name in ("logp", "entropy")
    )
    loss = results[-1].loss + sum(one.loss.detach() for one in results[:-1])
    return tokens, places, LossResult(loss, logp, entropy)


def _read(inputs: dict[str, Any], *, skip: bool) -> Batch:
    """Read a micro-batch's masks, and leave out the rows that cannot change the gradient."""
    advantages = inputs["advantages"].view(len(inputs["completion_mask"]), -1)
    completion_mask, prompt_mask = inputs["completion_mask"], inputs["prompt_mask"]
    # Padding gets the value -1, so that equal prompts have equal rows.
    prompts = inputs["prompt_ids"] * prompt_mask - (1 - prompt_mask)
    columns = download(
        [
            prompts,
            prompt_mask,
            completion_mask,
            completion_mask * inputs.get("tool_mask", 1),
            (advantages != 0).any(1, keepdim=True),
        ]
    )
    prompts_read, prompt_seen, seen, trained, has_advantage = columns
    lengths = seen.sum(1)
    kept: NDArray[np.bool_] = np.asarray(trained.any(1))
    if skip:
        kept &= has_advantage[:, 0].astype(bool)
    if not kept.any():  # a loss outside the graph would make other processes wait
        kept[lengths.argmin()] = True
    return Batch(
        rows=np.flatnonzero(kept),
        prompts=prompts_read[kept],
        prompt_lengths=prompt_seen[kept].sum(1),
        lengths=lengths[kept],
        trained=trained[kept].astype(bool),
    )
