"""Rows of logits in plain torch: their statistics, and their gradient in the same memory.

Each operation handles a few rows at a time, so that the rows stay in the processor's cache between operations.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from guerdon.kernels.objective import LossSpec

_CACHED_BYTES = 1024 * 1024
"""Bytes of logits that are processed at once. More exceeds the cache; less adds call overhead."""

_LEAST = -1e3
"""Replaces the logarithm of an exponential that is 0. Its factor is 0, so any finite value is right."""


class RowBuffers:
    """Memory for one tile of logits and for a few rows of scratch, shared by all tiles.

    Allocating memory of this size costs more time on CPU than the arithmetic in it.

    Args:
        rows: The most rows that a tile has.
        columns: The vocabulary's size.
        like: A tensor of the device and dtype to compute in.
    """

    def __init__(self, rows: int, columns: int, like: Tensor) -> None:
        wide = torch.promote_types(like.dtype, torch.float32)
        self._logits = like.new_empty(rows, columns, dtype=wide)
        self._few = max(1, _CACHED_BYTES // (columns * wide.itemsize))
        self._scratch = like.new_empty(min(rows, self._few), columns, dtype=wide)

    def logits(self, count: int) -> Tensor:
        """Return the tile's memory [count, columns]. Its previous content is lost."""
        return self._logits[:count]

    def few_at_a_time(self, count: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield ranges of ``count`` rows that fit into the cache, each with an equal number of scratch rows."""
        for start in range(0, count, self._few):
            end = min(start + self._few, count)
            yield slice(start, end), self._scratch[: end - start]


class Rows:
    """A tile of logits, whose gradient is computed in the same memory.

    Of a row of scaled logits z, with p = softmax(z), target t, logp = log p[t] and entropy H = -sum p log p::

        d logp / d z[j] = [j = t] - p[j]
        d H / d z[j]    = -p[j] (log p[j] + H)
        d loss / d z[j] = a ([j = t] - p[j]) - b p[j] (log p[j] + H)

    with a = d loss / d logp and b = d loss / d H. The head adds its own slopes: with a soft cap c,
    z = c tanh(x / c) / temperature has d z / d x = (1 - tanh(x / c)^2) / temperature, and x = scale * logit.
    With e = exp(z - top) and their sum S, p = e / S and log p = (z - top) - log S. Each row stores
    e in the logits' place, ``top``, S and z[t] - top.

    Args:
        hidden: [N, H].
        weight: [V, H].
        bias: [V].
        target: Token ids [N].
        spec: The head's scales.
        buffers: The memory, in use until the gradient is computed.
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
        self._exponentials = logits = buffers.logits(len(target))
        if logits.dtype == hidden.dtype:
            torch.mm(hidden, weight.t(), out=logits)
        else:
            logits.copy_(hidden @ weight.t())
        self._top, self._total, self._chosen, moment = (logits.new_empty(len(target), 1) for _ in range(4))
        for rows, below in buffers.few_at_a_time(len(target)):
            few = _scaled(logits[rows], bias, spec)
            torch.amax(few, 1, keepdim=True, out=self._top[rows])
            torch.sub(few, self._top[rows], out=below)
            torch.gather(below, 1, target[rows, None], out=self._chosen[rows])
            torch.exp(below, out=few)
            torch.sum(few, 1, keepdim=True, out=self._total[rows])
            # A logit of -inf has probability 0 and adds nothing to the entropy; 0 * -inf would be NaN.
            torch.sum(below.clamp_(min=_LEAST).mul_(few), 1, keepdim=True, out=moment[rows])
        self._log_total = self._total.log()
        self.logp = (self._chosen - self._log_total)[:, 0]
        self.entropy = (self._log_total - moment / self._total)[:, 0]

    def gradient(self, logp_gradient: Tensor, entropy_gradient: Tensor | None) -> Tensor:
        """Return the logits' gradient [N, V] in the compute dtype. The rows are no longer valid.

        Args:
            logp_gradient: The loss's gradient with respect to each target's log-probability [N].
            entropy_gradient: The same for each entropy [N], if any.
        """
        spec, gradient = self._spec, self._exponentials
        factor = spec.logit_scale / spec.temperature
        by_logp = (factor * logp_gradient)[:, None].to(gradient.dtype)
        by_entropy = None if entropy_gradient is None else (factor * entropy_gradient)[:, None]
        of_target = by_logp
        if spec.softcap is not None:
            of_target = by_logp * self._slope(self._chosen + self._top)
        scale = -1 / self._total if by_entropy is not None else -by_logp / self._total
        above_mean = self.entropy[:, None] - self._log_total
        for rows, below in self._buffers.few_at_a_time(len(gradient)):
            few = gradient[rows]
            if spec.softcap is not None or by_entropy is not None:
                torch.log(few, out=below).clamp_(min=_LEAST)
            few *= scale[rows]
            if spec.softcap is not None:
                few *= self._slope(below + self._top[rows])
            if by_entropy is not None:
                few *= below.add_(above_mean[rows]).mul_(by_entropy[rows]).add_(by_logp[rows])
            few.scatter_add_(1, self._target[rows, None], of_target[rows])
        return gradient.to(self._dtype)

    def _slope(self, capped: Tensor) -> Tensor:
        """Return the soft cap's slope from its result divided by the temperature: d tanh(x) = 1 - tanh(x)^2."""
        assert self._spec.softcap is not None
        return 1 - (capped * (self._spec.temperature / self._spec.softcap)).square_()


def _scaled(logits: Tensor, bias: Tensor | None, spec: LossSpec) -> Tensor:
    """Apply the head's bias, scale, cap and temperature to logits in their memory."""
    if bias is not None:
        logits += bias
    if spec.logit_scale != 1:
        logits *= spec.logit_scale
    if spec.softcap is not None:
        logits.div_(spec.softcap).tanh_().mul_(spec.softcap)
    if spec.temperature != 1:
        logits /= spec.temperature
    return logits
