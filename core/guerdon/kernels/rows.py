"""The rows of logits in plain torch: their statistics, and their gradient in their own place.

Each runs over a few rows at a time: what the processor's cache holds is not read from memory once per operation.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from guerdon.kernels.objective import LossSpec

_CACHED_BYTES = 512 * 1024
"""Of logits that are gone through at once: with as many exponentials, about what one core's cache holds."""


class RowBuffers:
    """Memory for one tile of logits and for a few rows of exponentials, shared by all tiles.

    Fresh memory of this size costs more time on CPU than the arithmetic in it.

    Args:
        rows: The most rows that a tile has.
        columns: The vocabulary's size.
        like: A tensor of the device and dtype to compute in.
    """

    def __init__(self, rows: int, columns: int, like: Tensor) -> None:
        wide = torch.promote_types(like.dtype, torch.float32)
        self._logits = like.new_empty(rows, columns, dtype=wide)
        self._few = max(1, _CACHED_BYTES // (columns * wide.itemsize))
        self._exponentials = like.new_empty(min(rows, self._few), columns, dtype=wide)

    def logits(self, count: int) -> Tensor:
        """The tile's [count, columns]; what was in it is lost."""
        return self._logits[:count]

    def few_at_a_time(self, count: int) -> Iterator[tuple[slice, Tensor]]:
        """Ranges of ``count`` rows that fit into the cache, each with room for as many exponentials."""
        for start in range(0, count, self._few):
            end = min(start + self._few, count)
            yield slice(start, end), self._exponentials[: end - start]


class Rows:
    """A tile of logits in the making of its gradient, which takes the logits' place.

    Args:
        hidden: [N, H].
        weight: [V, H].
        bias: [V].
        target: Token ids [N].
        spec: The head's scales.
        buffers: Used until the gradient is taken.
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        spec: LossSpec,
        buffers: RowBuffers,
    ) -> None:
        self._target, self._spec, self._dtype, self._buffers = target, spec, hidden.dtype, buffers
        self._below = logits = buffers.logits(len(target))
        if logits.dtype == hidden.dtype:
            torch.mm(hidden, weight.t(), out=logits)
        else:
            logits.copy_(hidden @ weight.t())
        self._top, self._total, moment = (logits.new_empty(len(target), 1) for _ in range(3))
        for rows, exponentials in buffers.few_at_a_time(len(target)):
            few = _scaled(logits[rows], bias, spec)
            torch.amax(few, 1, keepdim=True, out=self._top[rows])
            few -= self._top[rows]
            torch.exp(few, out=exponentials)
            torch.sum(exponentials, 1, keepdim=True, out=self._total[rows])
            moment[rows] = torch.bmm(exponentials[:, None], few[:, :, None])[:, 0]
        self._log_total = self._total.log()
        self.logp = (self._below.gather(1, target[:, None]) - self._log_total)[:, 0]
        self.entropy = (self._log_total - moment / self._total)[:, 0]

    def gradient(self, logp_gradient: Tensor, entropy_gradient: Tensor | None) -> Tensor:
        """The logits' gradient [N, V], in the compute dtype; the rows are used up.

        Args:
            logp_gradient: The loss's gradient with respect to each target's log-probability [N].
            entropy_gradient: The same for each entropy [N], if any.
        """
        spec = self._spec
        factor = spec.logit_scale / spec.temperature
        by_logp = (factor * logp_gradient)[:, None].to(self._below.dtype)
        by_entropy = None if entropy_gradient is None else (factor * entropy_gradient)[:, None]
        above_mean = self.entropy[:, None] - self._log_total
        for rows, exponentials in self._buffers.few_at_a_time(len(self._target)):
            few = self._below[rows]
            torch.exp(few, out=exponentials)
            # d tanh(x) = 1 - tanh(x)^2
            bent = (
                None if spec.softcap is None else (few + self._top[rows]) * (spec.temperature / spec.softcap)
            )
            if by_entropy is None:
                torch.mul(exponentials, -by_logp[rows] / self._total[rows], out=few)
            else:
                few.add_(above_mean[rows]).mul_(by_entropy[rows]).add_(by_logp[rows])
                few.mul_(exponentials).mul_(-1 / self._total[rows])
            few.scatter_add_(1, self._target[rows, None], by_logp[rows])
            if bent is not None:
                few *= 1 - bent.square_()
        return self._below.to(self._dtype)


def _scaled(logits: Tensor, bias: Tensor | None, spec: LossSpec) -> Tensor:
    """What the head does to its logits, done in their place."""
    if bias is not None:
        logits += bias
    if spec.logit_scale != 1:
        logits *= spec.logit_scale
    if spec.softcap is not None:
        logits.div_(spec.softcap).tanh_().mul_(spec.softcap)
    if spec.temperature != 1:
        logits /= spec.temperature
    return logits
