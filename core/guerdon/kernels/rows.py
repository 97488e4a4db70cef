"""Rows of logits in plain torch: their statistics and their gradient, in two buffers that all tiles share.

Fresh memory of this size costs more time on CPU than the arithmetic in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.kernels.objective import LossSpec


class RowBuffers:
    """Memory for one tile, made at the first one's size.

    Args:
        rows: The most rows that a tile has.
        columns: The vocabulary's size.
        like: A tensor of the device and dtype to compute in.
    """

    def __init__(self, rows: int, columns: int, like: Tensor) -> None:
        wide = torch.promote_types(like.dtype, torch.float32)
        self._logits, self._exponentials = (like.new_empty(rows, columns, dtype=wide) for _ in range(2))

    def rows(self, count: int) -> tuple[Tensor, Tensor]:
        """Two buffers [count, columns]; what was in them is lost."""
        return self._logits[:count], self._exponentials[:count]


class Rows:
    """A tile of logits in the making of its gradient.

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
        self._target, self._spec, self._dtype = target, spec, hidden.dtype
        logits, exponentials = buffers.rows(len(target))
        if logits.dtype == hidden.dtype:
            torch.mm(hidden, weight.t(), out=logits)
        else:
            logits.copy_(hidden @ weight.t())
        if bias is not None:
            logits += bias
        if spec.logit_scale != 1:
            logits *= spec.logit_scale
        if spec.softcap is not None:
            logits.div_(spec.softcap).tanh_().mul_(spec.softcap)
        if spec.temperature != 1:
            logits /= spec.temperature
        self._top = logits.amax(1, keepdim=True)
        self._below = logits.sub_(self._top)
        self._exponentials = torch.exp(self._below, out=exponentials)
        self._total = self._exponentials.sum(1)
        log_total = self._total.log()
        self.logp = self._below.gather(1, target[:, None])[:, 0] - log_total
        # Unlike vecdot, a product of matrices makes no third tile.
        moment = torch.bmm(self._exponentials[:, None], self._below[:, :, None])[:, 0, 0]
        self.entropy = log_total - moment / self._total

    def gradient(self, logp_gradient: Tensor, entropy_gradient: Tensor | None) -> Tensor:
        """The logits' gradient [N, V], in the compute dtype; the rows are used up.

        Args:
            logp_gradient: The loss's gradient with respect to each target's log-probability [N].
            entropy_gradient: The same for each entropy [N], if any.
        """
        spec = self._spec
        slope = None
        if spec.softcap is not None:  # d tanh(x) = 1 - tanh(x)^2
            bent = (self._below + self._top).mul_(spec.temperature / spec.softcap)
            slope = bent.square_().neg_().add_(1)
        gradient = self._exponentials
        if entropy_gradient is None:
            gradient *= (-logp_gradient / self._total)[:, None]
        else:
            above_mean = self._below.add_((self.entropy - self._total.log())[:, None])
            gradient *= above_mean.mul_(entropy_gradient[:, None]).add_(logp_gradient[:, None])
            gradient *= (-1 / self._total)[:, None]
        gradient.scatter_add_(1, self._target[:, None], logp_gradient[:, None].to(gradient.dtype))
        if slope is not None:
            gradient *= slope
        factor = spec.logit_scale / spec.temperature
        if factor != 1:
            gradient *= factor
        return gradient.to(self._dtype)
