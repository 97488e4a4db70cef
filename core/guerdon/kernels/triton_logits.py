"""Rows of logits as Triton kernels for CUDA GPUs. Each kernel reads a row once; the gradient replaces the logits.

Triton compiles them on the user's machine. ``TRITON_INTERPRET=1``, set before this module is imported, runs them on CPU
for tests.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom

from guerdon.kernels.objective import LossSpec

# Triton reads the annotations of a kernel and refuses all but its own types, so the kernels have no others.

_BLOCK = 4096
_PER_THREAD = 16
"""Columns of a block for each thread. With three float32 values each, no registers spill.

In bfloat16 they are two loads of 16 bytes.
"""
_LEAST = -1e3
"""Replaces the logarithm of a probability that is 0, because 0 * -inf is not a number."""


@triton.jit  # type: ignore[untyped-decorator]
def _scaled(z, scale, cap, inverse_temperature, has_cap: tl.constexpr):  # type: ignore[no-untyped-def]
    z = z * scale
    if has_cap:
        z = cap * (2 * tl.sigmoid(2 * z / cap) - 1)  # tanh
    return z * inverse_temperature


@triton.jit  # type: ignore[untyped-decorator]
def _stats_kernel(  # type: ignore[no-untyped-def]
    logits_ptr, target_ptr, logp_ptr, entropy_ptr, norm_ptr, columns,
    scale, cap, inverse_temperature, has_cap: tl.constexpr,
    least: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * columns
    first = tl.load(logits_ptr).to(tl.float32)
    top = _scaled(first, scale, cap, inverse_temperature, has_cap)
    total = 0.0
    moment = 0.0  # the sum of exp(z - top) (z - top)
    for start in range(0, columns, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < columns
        z = tl.load(logits_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        z = tl.where(inside, _scaled(z, scale, cap, inverse_temperature, has_cap), float("-inf"))
        new_top = tl.maximum(top, tl.max(z))
        fall = tl.where(total > 0.0, top - new_top, 0.0)  # while the sum is empty, both may be -inf
        down = tl.exp(fall)
        above = tl.where(z == float("-inf"), least, z - new_top)
        weights = tl.where(z == float("-inf"), 0.0, tl.exp(above))
        moment = down * (moment + fall * total) + tl.sum(weights * above)
        total = down * total + tl.sum(weights)
        top = new_top
    log_total = tl.log(total)
    chosen = tl.load(logits_ptr + tl.load(target_ptr + row)).to(tl.float32)
    chosen = _scaled(chosen, scale, cap, inverse_temperature, has_cap)
    # Stored separately, because their sum would lose the difference between large logits.
    tl.store(norm_ptr + 2 * row, top)
    tl.store(norm_ptr + 2 * row + 1, log_total)
    tl.store(logp_ptr + row, chosen - top - log_total)
    tl.store(entropy_ptr + row, log_total - moment / total)


@triton.jit  # type: ignore[untyped-decorator]
def _gradient_kernel(  # type: ignore[no-untyped-def]
    logits_ptr, target_ptr, norm_ptr, entropy_ptr, by_logp_ptr, by_entropy_ptr,
    columns, scale, cap, inverse_temperature,
    has_cap: tl.constexpr, has_entropy: tl.constexpr, least: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * columns
    target = tl.load(target_ptr + row)
    top = tl.load(norm_ptr + 2 * row)
    log_total = tl.load(norm_ptr + 2 * row + 1)
    by_logp = tl.load(by_logp_ptr + row)
    for start in range(0, columns, block):
        offsets = start + tl.arange(0, block)
        inside = offsets < columns
        raw = tl.load(logits_ptr + offsets, mask=inside, other=0.0)
        z = _scaled(raw.to(tl.float32), scale, cap, inverse_temperature, has_cap)
        log_prob = (z - top) - log_total
        slope = by_logp
        if has_entropy:
            log_of = tl.where(log_prob < least, least, log_prob)
            slope = by_logp + tl.load(by_entropy_ptr + row) * (log_of + tl.load(entropy_ptr + row))
        gradient = tl.where(offsets == target, by_logp, 0.0) - tl.exp(log_prob) * slope
        gradient = gradient * scale * inverse_temperature
        if has_cap:
            bent = z / (cap * inverse_temperature)  # the tanh; its slope is 1 - tanh^2
            gradient = gradient * (1 - bent * bent)
        tl.store(logits_ptr + offsets, gradient.to(raw.dtype), mask=inside)


class TritonRows:
    """A tile of logits on a GPU, whose gradient is computed in the same memory.

    Args:
        hidden: [N, H].
        weight: [V, H].
        bias: [V].
        target: Token ids [N].
        spec: The head's scales.
    """

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, spec: LossSpec
    ) -> None:
        self._logits = F.linear(hidden, weight, bias)
        self._target = target
        self._scales = (spec.logit_scale, spec.softcap or 1.0, 1 / spec.temperature, spec.softcap is not None)
        rows, columns = self._logits.shape
        self._block = min(_BLOCK, 1 << (columns - 1).bit_length())
        self._warps = max(1, min(16, self._block // (32 * _PER_THREAD)))
        self.logp, self.entropy = (hidden.new_empty(rows, dtype=torch.float32) for _ in range(2))
        self._norm = hidden.new_empty(rows, 2, dtype=torch.float32)
        if rows:
            _stats_kernel[(rows,)](
                self._logits, target, self.logp, self.entropy, self._norm, columns, *self._scales,
                _LEAST, self._block, num_warps=self._warps,
            )  # fmt: skip

    def gradient(self, logp_gradient: Tensor, entropy_gradient: Tensor | None) -> Tensor:
        """Return the logits' gradient [N, V] in the compute dtype. The rows are no longer valid.

        Args:
            logp_gradient: The loss's gradient with respect to each target's log-probability [N].
            entropy_gradient: The same for each entropy [N], if any.
        """
        rows, columns = self._logits.shape
        by_entropy = logp_gradient if entropy_gradient is None else entropy_gradient
        if rows:
            _gradient_kernel[(rows,)](
                self._logits, self._target, self._norm, self.entropy, logp_gradient.float(), by_entropy.float(),
                columns, *self._scales, entropy_gradient is not None, _LEAST, self._block, num_warps=self._warps,
            )  # fmt: skip
        return self._logits
