"""Rows of logits: log-probabilities and entropies, and the gradient in the logits' place. In plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.kernels.objective import LossSpec


def scale_logits(logits: Tensor, spec: LossSpec) -> Tensor:
    """The model's scale, soft cap and temperature applied, in place where that is possible; [N, V]."""
    if spec.logit_scale != 1:
        logits = logits.mul_(spec.logit_scale)
    if spec.softcap is not None:
        logits = logits.div_(spec.softcap).tanh_().mul_(spec.softcap)
    if spec.temperature != 1:
        logits = logits.div_(spec.temperature)
    return logits


def scale_gradient(gradient: Tensor, scaled: Tensor | None, spec: LossSpec) -> Tensor:
    """The gradient behind :func:`scale_logits` carried in front of it, in place.

    Args:
        gradient: Of the scaled logits [N, V].
        scaled: The scaled logits; needed with a soft cap.
        spec: The scales.
    """
    factor = spec.logit_scale / spec.temperature
    if spec.softcap is not None:
        assert scaled is not None
        # d tanh(x) = 1 - tanh(x)^2
        gradient = gradient.mul_(1 - (scaled * (spec.temperature / spec.softcap)).square_())
    return gradient.mul_(factor) if factor != 1 else gradient


def row_stats(log_probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The targets' log-probabilities [N], the entropies [N], and all probabilities [N, V].

    Args:
        log_probs: Log-softmax of the logits [N, V].
        target: Token ids [N].
    """
    probs = log_probs.exp()
    logp = log_probs.gather(1, target[:, None])[:, 0]
    entropy = -torch.linalg.vecdot(probs, log_probs)
    return logp, entropy, probs


def row_gradient(
    probs: Tensor,
    log_probs: Tensor,
    target: Tensor,
    entropy: Tensor,
    logp_gradient: Tensor,
    entropy_gradient: Tensor | None,
) -> Tensor:
    """The gradient of the logits [N, V], in the place of ``probs``.

    Args:
        probs: Probabilities [N, V]; overwritten.
        log_probs: Their logarithms [N, V]; read where there is an entropy gradient.
        target: Token ids [N].
        entropy: Entropies [N].
        logp_gradient: The loss's gradient with respect to each target's log-probability [N].
        entropy_gradient: The same for each entropy [N], if any.
    """
    if entropy_gradient is None:
        gradient = probs.mul_(-logp_gradient[:, None])
    else:
        above_mean = (log_probs + entropy[:, None]).mul_(entropy_gradient[:, None])
        gradient = probs.mul_(above_mean.add_(logp_gradient[:, None]).neg_())
    gradient.scatter_add_(1, target[:, None], logp_gradient[:, None])
    return gradient
