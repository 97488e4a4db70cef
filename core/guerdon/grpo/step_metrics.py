"""Collect a step's metrics under TRL's names from all processes, with one wait for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from guerdon.kernels import LossResult, LossSpec, Sequences, Tokens, TokenTerms, token_terms
from guerdon.kernels.objective import CLIPPED

Kind = Literal["mean", "plain", "least", "most"]


@dataclass(slots=True)
class Collected:
    """Numbers of one process, to be joined with those of the others."""

    names: list[tuple[str, Kind]] = field(default_factory=list)
    values: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Pairs of a value and its count."""

    def add(self, name: str, kind: Kind, value: Tensor, count: Tensor | float = 1.0) -> None:
        """Add a number.

        Args:
            name: The metric's name.
            kind: How processes are joined: ``mean`` sums values and counts, ``plain`` is the mean over processes,
                ``least`` and ``most`` are over those that have any.
            value: The number, or the sum.
            count: The number of items that it covers.
        """
        self.names.append((name, kind))
        self.values.append((value, torch.as_tensor(count, device=value.device)))

    def join(self, gather: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the metrics of all processes, without those that no process has."""
        own = torch.stack([torch.stack([part.float() for part in pair]) for pair in self.values])
        everywhere: list[list[list[float]]] = gather(own[None]).tolist()
        joined = {}
        for number, (name, kind) in enumerate(self.names):
            value = _join(kind, [process[number] for process in everywhere])
            if value is not None:
                joined[name] = value
        return joined


def _join(kind: Kind, pairs: Sequence[Sequence[float]]) -> float | None:
    if kind == "mean":
        return math.fsum(value for value, _ in pairs) / max(math.fsum(count for _, count in pairs), 1.0)
    some = [value for value, count in pairs if count > 0]
    if not some:
        return None
    if kind == "plain":
        return math.fsum(some) / len(some)
    return min(some) if kind == "least" else max(some)


@torch.no_grad()
def collect(
    spec: LossSpec, tokens: Tokens, result: LossResult, *, policy_scale: float | None, sampling_mode: str
) -> Collected:
    """Collect TRL's metrics of a micro-batch, and its ``loss``.

    Args:
        spec: The objective.
        tokens: The trained tokens.
        result: The result of the fused loss.
        policy_scale: The factor of the logged loss without the entropy bonus; ``None`` if TRL does not log it.
        sampling_mode: How the sampler's log-probabilities correct the loss.
    """
    terms = token_terms(spec, result.logp, result.entropy, tokens)
    collected = Collected()
    collected.add("loss", "plain", result.loss.detach())
    if policy_scale is not None:
        collected.add("policy_loss", "plain", terms.policy_loss * policy_scale)
    of = Sequences(tokens.sequence)
    # TRL averages sequence-level values over sequences, and token-level values over tokens.
    by_sequence = spec.importance_sampling_level == "sequence"

    def mean(name: str, values: Tensor, per_sequence: bool = False) -> None:
        if per_sequence:
            collected.add(name, "mean", (values / of.length).sum(), of.count())
        else:
            collected.add(name, "mean", values.sum(), float(len(values)))

    if terms.kl is not None:
        mean("kl", terms.kl)
    mean("entropy", result.entropy)
    if spec.loss_type in CLIPPED:
        low, high = _clipped(spec, tokens, terms)
        mean("clip_ratio/low_mean", low, by_sequence)
        mean("clip_ratio/high_mean", high, by_sequence)
        mean("clip_ratio/region_mean", low + high, by_sequence)
        _extreme(collected, "clip_ratio/low_min", "least", of.mean(low))
        _extreme(collected, "clip_ratio/high_max", "most", of.mean(high))
    elif spec.loss_type == "cispo":
        clipped = (terms.ratio > spec.clip_high) & (tokens.advantage > 0)
        mean("cispo_clip_ratio", clipped.float(), by_sequence)
    elif terms.phi is not None:
        mean("vespo/phi_seq_mean", terms.phi, per_sequence=True)
    if terms.is_ratio is not None and tokens.is_ratio is None:  # otherwise TRL has computed and logged it
        _sampler(collected, tokens, result.logp, terms.is_ratio, of, "sequence" in sampling_mode)
    return collected


def _clipped(spec: LossSpec, tokens: Tokens, terms: TokenTerms) -> tuple[Tensor, Tensor]:
    ratio = terms.ratio if spec.delta is None else terms.ratio.clamp(max=spec.delta)
    low = (ratio < 1 - spec.epsilon) & (tokens.advantage < 0)
    high = (ratio > 1 + spec.clip_high) & (tokens.advantage > 0)
    return low.float(), high.float()


def _extreme(collected: Collected, name: str, kind: Kind, values: Tensor) -> None:
    if len(values):
        collected.add(name, kind, values.min() if kind == "least" else values.max())
    else:
        collected.add(name, kind, values.new_zeros(()), 0.0)


def _sampler(
    collected: Collected, tokens: Tokens, logp: Tensor, is_ratio: Tensor, of: Sequences, by_sequence: bool
) -> None:
    """Collect the difference between the sampler and the policy, under TRL's names; 0 without tokens."""
    assert tokens.sampling_logp is not None
    gap = ((logp if tokens.old_logp is None else tokens.old_logp) - tokens.sampling_logp).abs()
    known = ~gap.isnan()
    gap = gap.nan_to_num(nan=0.0)
    nothing = logp.new_zeros(1)
    share = 1 / of.length if by_sequence else torch.ones_like(is_ratio)
    ratio_mean = (is_ratio * share).sum() / share.sum().clamp(min=1e-9)
    ratios = is_ratio if len(is_ratio) else nothing
    for name, kind, value in (
        ("sampling_logp_difference/mean", "plain", gap.sum() / known.sum().clamp(min=1)),
        ("sampling_logp_difference/max", "most", (gap if len(gap) else nothing).max()),
        ("importance_sampling_ratio/min", "least", ratios.min()),
        ("importance_sampling_ratio/mean", "plain", ratio_mean),
        ("importance_sampling_ratio/max", "most", ratios.max()),
    ):
        collected.add(f"sampling/{name}", kind, value)  # type: ignore[arg-type]
