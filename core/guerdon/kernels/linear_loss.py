"""Fuse the head and the GRPO loss: gradients are computed in the forward pass, while a tile of logits is in memory.

A tile takes 6NHV operations (logits, gradient of the hidden states, gradient of the weight), 4NHV with a frozen head. A
head that recomputes its logits in the backward pass takes 8NHV. The objective determines which tokens must be processed
before a token's gradient can be computed (its unit: the token, its sequence, or the batch). A tile always contains
whole units; a unit larger than a tile takes two passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from guerdon.kernels.logits import RowBuffers, Rows
from guerdon.kernels.objective import LossSpec, Tokens, token_terms, unit_of

Backend = Literal["auto", "torch", "triton"]

_TILE_MB = {"cpu": 64, "small": 512, "large": 2560}
_LARGE_DEVICE = 70 * 1024**3
_LIFTED = 256.0
"""About the largest gradient of a log-probability in float16.

A logit's gradient is its probability times that, and float16 has no number between 0 and 6e-8. The gradients are
computed before a gradient scaler's factor is known, so its factor comes too late for them.
"""


class LossResult(NamedTuple):
    """The result of ``fused_linear_grpo_loss``. Only the loss carries gradients."""

    loss: Tensor
    logp: Tensor
    """Log-probabilities of the targets [N], float32 or wider."""
    entropy: Tensor
    """Entropies [N], float32 or wider."""


def fused_linear_grpo_loss(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    tokens: Tokens,
    spec: LossSpec,
    *,
    bias: Tensor | None = None,
    tile_budget_mb: float | None = None,
    backend: Backend = "auto",
) -> LossResult:
    """Return the GRPO loss of tokens, from the hidden states that predict them.

    Args:
        hidden: [N, H].
        weight: The head's weight [V, H].
        target: The sampled tokens [N].
        tokens: Advantages, weights and the other inputs of the objective.
        spec: The objective and the head's scales.
        bias: The head's bias [V].
        tile_budget_mb: Memory for one tile of logits, in MiB; by default 64 on CPU and 512 or 2560 on a GPU.
        backend: ``auto`` is Triton on CUDA and torch elsewhere.

    Raises:
        RuntimeError: A second derivative is requested, or the backward pass runs twice.
    """
    need = _Need(
        hidden=torch.is_grad_enabled() and hidden.requires_grad,
        # Inside an autograd function, these flags are True even under no_grad.
        weight=torch.is_grad_enabled() and weight.requires_grad,
        bias=torch.is_grad_enabled() and bias is not None and bias.requires_grad,
    )
    device = hidden.device.type
    # The head is narrowed inside, without narrowing its gradient. Outside, autograd would round the gradient.
    hidden = hidden.to(
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    )
    triton = backend == "triton" or (backend == "auto" and hidden.is_cuda)
    kept = hidden.dtype if triton else torch.promote_types(hidden.dtype, torch.float32)
    memory = torch.cuda.get_device_properties(hidden.device).total_memory if hidden.is_cuda else None
    plan = _Plan(spec, tokens, need, tile_rows(len(weight), kept, memory, tile_budget_mb), triton)
    with torch.autocast(device, enabled=False):
        outputs: Any = _FusedLinearLoss.apply(hidden, weight, bias, target, plan)  # type: ignore[no-untyped-call]
    return LossResult(*outputs)


@dataclass(frozen=True, slots=True)
class _Need:
    """Which gradients are needed."""

    hidden: bool
    weight: bool
    bias: bool

    @property
    def any(self) -> bool:
        return self.hidden or self.weight or self.bias


@dataclass(frozen=True, slots=True)
class _Plan:
    spec: LossSpec
    tokens: Tokens
    need: _Need
    tile_rows: int
    triton: bool

    def groups(self) -> list[tuple[int, int]]:
        """Return ranges of tokens that hold whole units. A range larger than a tile holds one unit."""
        count = len(self.tokens)
        unit = unit_of(self.spec, self.tokens)
        if unit == "batch" or count <= self.tile_rows:
            return [(0, count)] if count else []
        if unit == "token":
            return list(_ranges(0, count, self.tile_rows))
        return list(self._sequences())

    def _sequences(self) -> Iterator[tuple[int, int]]:
        lengths = torch.unique_consecutive(self.tokens.sequence, return_counts=True)[1].tolist()
        start = end = 0
        for length in lengths:
            if end > start and end + length - start > self.tile_rows:
                yield start, end
                start = end
            end += length
        if end > start:
            yield start, end


def _ranges(start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of nearly equal size. A small last tile would read the whole head for a few rows."""
    count = -(-(end - start) // most)
    for number in range(count):
        yield start + (end - start) * number // count, start + (end - start) * (number + 1) // count


def tile_rows(
    vocabulary: int, dtype: torch.dtype, device_bytes: int | None, budget_mb: float | None = None
) -> int:
    """Return how many tokens' logits a tile holds.

    Args:
        vocabulary: The logits of a token.
        dtype: The dtype in which the backend keeps them.
        device_bytes: The memory of the GPU, or ``None`` on CPU.
        budget_mb: The memory of a tile in MiB; by default it depends on the device.
    """
    if budget_mb is None:
        large = device_bytes is not None and device_bytes > _LARGE_DEVICE
        budget_mb = _TILE_MB["cpu" if device_bytes is None else "large" if large else "small"]
    return max(1, int(budget_mb * 1024**2) // (vocabulary * dtype.itemsize))


class _Tile(Protocol):
    """A tile of logits: its rows' statistics [N], and its gradient."""

    logp: Tensor
    entropy: Tensor

    def gradient(self, logp_gradient: Tensor, entropy_gradient: Tensor | None) -> Tensor: ...


class _Gradients:
    """The gradients of the head's inputs, summed over tiles."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, need: _Need) -> None:
        self._input, self._matrix = hidden, weight
        kept = gradient_dtype(hidden.dtype)
        self.hidden = torch.empty_like(hidden, dtype=kept) if need.hidden else None
        wide = torch.promote_types(weight.dtype, torch.float32)
        # The first product initialises the memory.
        fresh = torch.empty_like if len(hidden) else torch.zeros_like
        self.weight = fresh(weight, dtype=wide) if need.weight else None
        self._share = 0
        self.bias = torch.zeros_like(bias, dtype=wide) if bias is not None and need.bias else None

    def add(self, start: int, end: int, logits_gradient: Tensor) -> None:
        if self.hidden is not None and self.hidden.dtype == self._matrix.dtype:
            torch.mm(logits_gradient, self._matrix, out=self.hidden[start:end])
        elif self.hidden is not None:
            self.hidden[start:end] = logits_gradient @ self._matrix
        if self.weight is not None:
            _add_product(self.weight, logits_gradient.t(), self._input[start:end], self._share)
            self._share = 1
        if self.bias is not None:
            self.bias += logits_gradient.sum(0, dtype=self.bias.dtype)

    def scale_rows(self, start: int, end: int, factors: Tensor) -> None:
        assert self.hidden is not None
        self.hidden[start:end] *= factors[:, None]


def gradient_dtype(compute: torch.dtype) -> torch.dtype:
    """Return the dtype in which the gradient of the hidden states is kept until the backward pass.

    The factor of a float16 gradient may itself be too large or too small for float16.
    """
    return torch.float32 if compute == torch.float16 else compute


def _add_product(total: Tensor, left: Tensor, right: Tensor, share: int) -> None:
    """Compute ``total = share * total + left @ right`` in the total's dtype.

    Rounding each tile's product biases training.
    """
    if left.dtype == total.dtype:
        total.addmm_(left, right, beta=share)
    elif left.is_cuda:
        torch.addmm(total, left, right, beta=share, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype), beta=share)


def _coefficients(
    plan: _Plan, logp: Tensor, entropy: Tensor, start: int, end: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the loss of a range of whole units, and its gradients by log-probability and by entropy."""
    tokens = plan.tokens.part(start, end)
    has_bonus = tokens.entropy_weight is not None
    with torch.enable_grad():
        logp, entropy = logp.detach().requires_grad_(), entropy.detach().requires_grad_(has_bonus)
        loss = token_terms(plan.spec, logp, entropy, tokens).loss
        if not plan.need.any:
            return loss.detach(), logp, None
        by_logp, by_entropy = torch.autograd.grad(
            loss, (logp, entropy) if has_bonus else (logp, logp), allow_unused=True, materialize_grads=True
        )
    return loss.detach(), by_logp, by_entropy if has_bonus else None


class _Pass:
    """One pass over the tokens, tile by tile, that computes the loss and the gradients.

    Args:
        hidden: [N, H], in the dtype to compute in.
        weight: The head's weight [V, H].
        bias: The head's bias [V].
        target: [N].
        plan: The other settings of the pass.
    """

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, plan: _Plan
    ) -> None:
        self._hidden, self._target, self._plan = hidden, target, plan
        self._weight = weight.to(hidden.dtype)
        self._bias = None if bias is None else bias.to(hidden.dtype)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        self.logp, self.entropy = (hidden.new_empty(len(target), dtype=wide) for _ in range(2))
        self.loss = hidden.new_zeros((), dtype=wide)
        self.gradients = _Gradients(hidden, self._weight, self._bias, plan.need)
        self._unit = _LIFTED if hidden.dtype == torch.float16 else 1.0
        self.lift = _lift(plan) if hidden.dtype == torch.float16 else None
        rows = min(plan.tile_rows, len(target))
        self._buffers = None if plan.triton else RowBuffers(rows, len(weight), hidden)

    def run(self) -> None:
        plan, groups = self._plan, self._plan.groups()
        scalable = not (plan.need.weight or plan.need.bias) and plan.tokens.entropy_weight is None
        if plan.need.hidden and scalable and any(end - start > plan.tile_rows for start, end in groups):
            self._scale_afterwards(groups)
        else:
            for start, end in groups:
                self._know_then_add(start, end)

    def _scale_afterwards(self, groups: Sequence[tuple[int, int]]) -> None:
        """Add the gradients of a frozen head: scale each row's d logp / d hidden by its coefficient afterwards.

        The coefficients are known only after all tiles of a unit.
        """
        for start, end in _ranges(0, len(self._target), self._plan.tile_rows):
            made = self._tile(start, end)
            self.gradients.add(start, end, made.gradient(torch.full_like(made.logp, self._unit), None))
        for start, end in groups:
            by_logp, _ = self._add_loss(start, end)
            self.gradients.scale_rows(start, end, by_logp / self._unit)

    def _know_then_add(self, start: int, end: int) -> None:
        """Process a range of whole units in one pass if it fits into a tile, else in two.

        The first pass computes the coefficients, the second one adds the gradients.
        """
        plan = self._plan
        whole = end - start <= plan.tile_rows
        made: _Tile | None = None
        for first, last in _ranges(start, end, plan.tile_rows):
            made = self._tile(first, last)
        by_logp, by_entropy = self._add_loss(start, end)
        if not plan.need.any:
            return
        for first, last in _ranges(start, end, plan.tile_rows):
            if not whole or made is None:
                made = self._tile(first, last)
            rows = slice(first - start, last - start)
            gradient = made.gradient(by_logp[rows], None if by_entropy is None else by_entropy[rows])
            self.gradients.add(first, last, gradient)

    def _tile(self, start: int, end: int) -> _Tile:
        spec, rows = self._plan.spec, slice(start, end)
        made: _Tile
        if self._buffers is None:
            from guerdon.kernels.triton_logits import TritonRows  # Triton is not available on all platforms

            made = TritonRows(self._hidden[rows], self._weight, self._bias, self._target[rows], spec)
        else:
            made = Rows(self._hidden[rows], self._weight, self._bias, self._target[rows], spec, self._buffers)
        self.logp[rows], self.entropy[rows] = made.logp, made.entropy
        return made

    def _add_loss(self, start: int, end: int) -> tuple[Tensor, Tensor | None]:
        """Add the loss of a range of whole units, and return its gradients by log-probability and by entropy.

        Those are multiplied by ``lift``.
        """
        part, by_logp, by_entropy = _coefficients(
            self._plan, self.logp[start:end], self.entropy[start:end], start, end
        )
        self.loss += part
        if self.lift is not None:
            by_logp, by_entropy = by_logp * self.lift, None if by_entropy is None else by_entropy * self.lift
        return by_logp, by_entropy


def _lift(plan: _Plan) -> Tensor | None:
    """Return a power of two that makes the largest gradient of a log-probability or an entropy about ``_LIFTED``."""
    tokens = plan.tokens
    if not (plan.need.any and len(tokens)):
        return None
    largest = (tokens.weight * (tokens.advantage.abs() + plan.spec.beta)).abs().amax()
    if tokens.entropy_weight is not None:
        largest = torch.maximum(largest, tokens.entropy_weight.abs().amax())
    lift = (_LIFTED / largest.float()).log2().floor().exp2()
    return lift.where(largest > 0, 1.0)


class _FusedLinearLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, plan: _Plan
    ) -> tuple[Tensor, Tensor, Tensor]:
        made = _Pass(hidden, weight, bias, target, plan)
        made.run()
        gradients = made.gradients
        ctx.gradients = gradients.hidden, gradients.weight, gradients.bias
        ctx.lift = made.lift
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        ctx.mark_non_differentiable(made.logp, made.entropy)
        return made.loss, made.logp, made.entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradients: tuple[Tensor | None, ...] | None = ctx.gradients
        if gradients is None:
            raise RuntimeError("the fused GRPO loss gives its gradients once: its backward pass ran already.")
        ctx.gradients = None
        factor = grad_loss if ctx.lift is None else grad_loss / ctx.lift
        scaled = (
            None if gradient is None else _scaled(gradient, factor, dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None)


def _scaled(gradient: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``factor * gradient`` in a dtype, in one pass over the memory. The gradient's content is lost.

    Multiplying on the device avoids waiting for the factor's value.
    """
    result = gradient if gradient.dtype == dtype else torch.empty_like(gradient, dtype=dtype)
    return torch.mul(gradient, factor, out=result)
