"""GRPO's objectives on flat tokens: every loss type of TRL 1.16, as a function of log-probabilities and entropies.

The tokens of all completions form one row of length N, without padding and without masked tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from guerdon.kernels.sequences import Sequences

CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
LOSS_TYPES = (*CLIPPED, "cispo", "sapo", "vespo")
_CORRECTIONS = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")

Unit = Literal["token", "sequence", "batch"]


@dataclass(frozen=True, slots=True)
class LossSpec:
    """The objective. Names, meanings and defaults are those of TRL's GRPOConfig."""

    loss_type: str = "dapo"
    importance_sampling_level: str = "token"
    epsilon: float = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    beta: float = 0.0
    use_bias_correction_kl: bool = True
    off_policy_mask_threshold: float | None = None
    top_entropy_quantile: float = 1.0
    sapo_temperature_pos: float = 1.0
    sapo_temperature_neg: float = 1.05
    vespo_k_pos: float = 2.0
    vespo_lambda_pos: float = 3.0
    vespo_k_neg: float = 3.0
    vespo_lambda_neg: float = 2.0
    vllm_importance_sampling_mode: str | None = None
    """The correction for the ratio of policy to sampler, unless ``Tokens`` has an ``is_ratio``; ``None`` for none."""
    vllm_importance_sampling_clip_min: float | None = None
    vllm_importance_sampling_clip_max: float | None = 3.0
    temperature: float = 1.0
    """Logits are divided by it, after ``logit_scale`` and ``softcap``."""
    logit_scale: float = 1.0
    softcap: float | None = None
    """Logits are ``softcap * tanh(logits / softcap)``."""

    def __post_init__(self) -> None:
        if self.loss_type not in LOSS_TYPES:
            raise ValueError(f"loss_type is {self.loss_type!r}. Choose one of {', '.join(LOSS_TYPES)}.")
        if self.importance_sampling_level not in ("token", "sequence"):
            raise ValueError(
                f"importance_sampling_level is {self.importance_sampling_level!r}. Choose token or sequence."
            )
        if self.vllm_importance_sampling_mode not in (None, *_CORRECTIONS):
            raise ValueError(
                f"vllm_importance_sampling_mode is {self.vllm_importance_sampling_mode!r}. "
                f"Choose one of {', '.join(_CORRECTIONS)}."
            )

    @property
    def clip_high(self) -> float:
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


@dataclass(frozen=True, slots=True)
class Tokens:
    """The data of each token besides its logits: tensors of shape [N], with each sequence's tokens together."""

    advantage: Tensor
    weight: Tensor
    """Each token's weight in the loss: the loss type's normalizer, as a factor."""
    sequence: Tensor
    """The number of the token's sequence, in ascending order."""
    old_logp: Tensor | None = None
    """Log-probabilities before the update; ``None`` on policy, where they are the current ones."""
    ref_logp: Tensor | None = None
    """The reference model's log-probabilities, for ``beta``."""
    is_ratio: Tensor | None = None
    """The correction for a sampler that differs from the policy; by default computed from ``sampling_logp``."""
    sampling_logp: Tensor | None = None
    """The sampler's log-probabilities, for its correction and the off-policy mask; NaN where unknown."""
    entropy_weight: Tensor | None = None
    """Each token's weight in the entropy bonus."""
    chosen: Tensor | None = None
    """Which tokens ``top_entropy_quantile`` trains, if these are a part of the tokens that it compares.

    ``entropy_weight`` then is that of a chosen token. ``None`` to compare these tokens.
    """

    def __len__(self) -> int:
        return len(self.advantage)

    def part(self, start: int, end: int) -> Tokens:
        """Return the tokens from ``start`` to ``end``."""
        return self._each(lambda value: value[start:end])

    def to(self, device: torch.device) -> Tokens:
        """Return the tokens on a device."""
        return self._each(lambda value: value.to(device))

    @classmethod
    def join(cls, parts: Sequence[Tokens], order: Tensor) -> Tokens:
        """Return the tokens of several parts, in another order that keeps those of a sequence together."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            of_parts = [getattr(part, field.name) for part in parts]
            values[field.name] = None if of_parts[0] is None else torch.cat(of_parts)[order]
        return cls(**values)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Tokens:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed: dict[str, Any] = {
            name: None if value is None else function(value) for name, value in values.items()
        }
        return Tokens(**changed)


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """The loss and its parts, per token."""

    loss: Tensor
    """Scalar: the loss with weights and the entropy bonus applied."""
    policy_loss: Tensor
    """Scalar: the loss without the entropy bonus."""
    ratio: Tensor
    """The importance ratio [N]; with sequence-level importance sampling, the sequence's."""
    kl: Tensor | None
    phi: Tensor | None
    """VESPO's weights."""
    is_ratio: Tensor | None
    """The correction for the sampler."""


def unit_of(spec: LossSpec, tokens: Tokens) -> Unit:
    """Return the smallest set of tokens needed to compute one token's gradient: 'token', 'sequence' or 'batch'."""
    if spec.top_entropy_quantile < 1 and tokens.chosen is None:
        return "batch"
    derived = tokens.is_ratio is None and tokens.sampling_logp is not None
    correction = spec.vllm_importance_sampling_mode if derived else None
    corrected = correction is not None or tokens.is_ratio is not None
    by_sequence = (
        spec.importance_sampling_level == "sequence"
        or spec.off_policy_mask_threshold is not None
        or correction in ("sequence_truncate", "sequence_mask")
        or (spec.loss_type == "vespo" and (tokens.old_logp is not None or corrected))
    )
    return "sequence" if by_sequence else "token"


def token_terms(spec: LossSpec, logp: Tensor, entropy: Tensor, tokens: Tokens) -> TokenTerms:
    """Return the objective of whole units of tokens (see ``unit_of``).

    Args:
        spec: The objective.
        logp: Log-probabilities [N], in nats.
        entropy: Entropies [N], in nats.
        tokens: The other data of the tokens.
    """
    advantage = tokens.advantage
    old_logp = logp.detach() if tokens.old_logp is None else tokens.old_logp
    log_ratio = logp - old_logp
    of_sequence = Sequences(tokens.sequence)
    token_level = spec.importance_sampling_level == "token"
    ratio = torch.exp(log_ratio if token_level else of_sequence.mean(log_ratio))
    is_ratio = (
        _correction(spec, old_logp, tokens, of_sequence) if tokens.is_ratio is None else tokens.is_ratio
    )
    phi = None
    if spec.loss_type == "vespo":
        phi = _vespo_weights(spec, log_ratio.detach(), advantage, is_ratio, of_sequence)
    per_token = _surrogate(spec, ratio, advantage, logp, phi)
    if spec.off_policy_mask_threshold is not None:
        sampling_logp = old_logp if tokens.sampling_logp is None else tokens.sampling_logp
        drift = of_sequence.mean((sampling_logp - logp.detach()).nan_to_num(nan=0.0))
        per_token = per_token * ((advantage >= 0) | (drift <= spec.off_policy_mask_threshold))
    chosen = _most_uncertain(spec, entropy) if tokens.chosen is None else tokens.chosen
    if chosen is not None:
        per_token = per_token * chosen
    if is_ratio is not None and spec.loss_type != "vespo":
        per_token = per_token * is_ratio
    kl = _kl(spec, logp, ratio, tokens)
    if kl is not None:
        per_token = per_token + spec.beta * kl
    loss = policy_loss = (per_token * tokens.weight).sum()
    if tokens.entropy_weight is not None:
        bonus = entropy * tokens.entropy_weight
        if chosen is not None:
            bonus = bonus * chosen
        if chosen is not None and tokens.chosen is None:  # the mean over the chosen tokens, instead of all
            bonus = bonus * (len(tokens) / chosen.sum().clamp(min=1))
        loss = loss - bonus.sum()
    return TokenTerms(
        loss, policy_loss.detach(), ratio.detach(), None if kl is None else kl.detach(), phi, is_ratio
    )


def _surrogate(spec: LossSpec, ratio: Tensor, advantage: Tensor, logp: Tensor, phi: Tensor | None) -> Tensor:
    """Return what each token adds to the loss, before masks, corrections and KL."""
    if spec.loss_type in CLIPPED:
        clipped = ratio.clamp(1 - spec.epsilon, 1 + spec.clip_high)
        capped = ratio if spec.delta is None else ratio.clamp(max=spec.delta)
        return -torch.min(capped * advantage, clipped * advantage)
    if spec.loss_type == "cispo":
        return -ratio.clamp(max=spec.clip_high).detach() * advantage * logp
    if spec.loss_type == "sapo":
        sharpness = torch.where(advantage > 0, spec.sapo_temperature_pos, spec.sapo_temperature_neg)
        return -torch.sigmoid(sharpness * (ratio - 1)) * 4 / sharpness * advantage
    assert phi is not None
    return -phi * advantage * logp


def _kl(spec: LossSpec, logp: Tensor, ratio: Tensor, tokens: Tokens) -> Tensor | None:
    """Return the estimate of the divergence from the reference model: exp(gap) - gap - 1."""
    if spec.beta == 0:
        return None
    assert tokens.ref_logp is not None, "beta needs ref_logp"
    gap = tokens.ref_logp - logp
    kl = torch.exp(gap) - gap - 1
    return kl * ratio if spec.use_bias_correction_kl else kl


def _most_uncertain(spec: LossSpec, entropy: Tensor) -> Tensor | None:
    """Return which tokens are trained, if only those with the highest entropies are."""
    if spec.top_entropy_quantile == 1:
        return None
    # Use float32 as TRL does, because its rounding decides the tokens exactly at the threshold.
    seen = entropy.detach().float()
    return seen >= torch.quantile(seen, 1 - spec.top_entropy_quantile)


def _correction(spec: LossSpec, old_logp: Tensor, tokens: Tokens, of_sequence: Sequences) -> Tensor | None:
    """Return the ratio of the policy's to the sampler's probability, per token or sequence, truncated or masked."""
    mode = spec.vllm_importance_sampling_mode
    if mode is None or tokens.sampling_logp is None:
        return None
    log_ratio = (old_logp - tokens.sampling_logp).nan_to_num(nan=0.0)
    ratio = torch.exp(of_sequence.sum(log_ratio) if mode.startswith("sequence") else log_ratio)
    low, high = spec.vllm_importance_sampling_clip_min, spec.vllm_importance_sampling_clip_max
    low, high = 0.0 if low is None else low, math.inf if high is None else high
    if mode.endswith("truncate"):
        return ratio.clamp(low, high)
    return ratio.masked_fill((ratio < low) | (ratio > high), 0.0)


def _vespo_weights(
    spec: LossSpec, log_ratio: Tensor, advantage: Tensor, is_ratio: Tensor | None, of_sequence: Sequences
) -> Tensor:
    """Return VESPO's gamma weighting of the sequence's ratio w: exp(lambda) w^k exp(-lambda w), 1 at w = 1."""
    lowest = math.log(1e-8)
    log_w = of_sequence.sum(log_ratio.clamp(-20.0, 20.0))
    if is_ratio is not None:
        log_w = log_w + of_sequence.sum(torch.log(is_ratio).clamp(lowest, 20.0))
    log_w = log_w.clamp(lowest, 20.0)
    positive = advantage >= 0
    k = torch.where(positive, spec.vespo_k_pos, spec.vespo_k_neg)
    rate = torch.where(positive, spec.vespo_lambda_pos, spec.vespo_lambda_neg).clamp(min=1e-4)
    return torch.exp(rate + k * log_w - rate * log_w.exp()).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
