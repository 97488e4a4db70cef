"""The Triton kernels on a card: the rows and gradients of the torch path in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from guerdon.kernels import LossSpec, Tokens, fused_linear_grpo_loss

pytestmark = pytest.mark.gpu

SCALED: dict[str, Any] = {"temperature": 0.7, "logit_scale": 1.3, "softcap": 3.0}
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class Inputs(NamedTuple):
    states: Tensor
    weight: Tensor
    target: Tensor
    tokens: Tokens


def make(rows: int, width: int, vocabulary: int, *, bonus: bool) -> Inputs:
    torch.manual_seed(rows + vocabulary)
    card: dict[str, Any] = {"device": "cuda", "dtype": torch.float64}
    sequence = torch.arange(rows, device="cuda") // 5
    tokens = Tokens(
        torch.randn(rows, **card)[sequence],
        torch.rand(rows, **card),
        sequence,
        entropy_weight=torch.rand(rows, **card) if bonus else None,
    )
    states = torch.randn(rows, width, **card)
    weight = torch.randn(vocabulary, width, **card) / width**0.5
    return Inputs(states, weight, torch.randint(vocabulary, (rows,), device="cuda"), tokens)


def run(inputs: Inputs, dtype: torch.dtype, **options: Any) -> list[Tensor]:
    states, weight = (part.to(dtype).requires_grad_() for part in (inputs.states, inputs.weight))
    tokens = inputs.tokens
    wide = torch.promote_types(dtype, torch.float32)
    cast = Tokens(
        tokens.advantage.to(wide),
        tokens.weight.to(wide),
        tokens.sequence,
        entropy_weight=None if tokens.entropy_weight is None else tokens.entropy_weight.to(wide),
    )
    result = fused_linear_grpo_loss(states, weight, inputs.target, cast, **options)
    return [*result, *torch.autograd.grad(result.loss, (states, weight))]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("vocabulary", [33, 4096, 5000, 151_936])
@pytest.mark.parametrize(("scales", "bonus"), [({}, False), ({}, True), (SCALED, False), (SCALED, True)])
def test_fused_loss_on_a_card_is_the_torch_path_in_float64(
    dtype: torch.dtype, vocabulary: int, scales: dict[str, Any], bonus: bool
) -> None:
    inputs = make(37, 64, vocabulary, bonus=bonus)
    # Both read the same rounded numbers, so that only the arithmetic differs.
    rounded = inputs._replace(
        states=inputs.states.to(dtype).double(), weight=inputs.weight.to(dtype).double()
    )
    spec = LossSpec(**scales)
    exact = run(rounded, torch.float64, spec=spec, backend="torch")
    for tile_budget_mb in (None, 37 * vocabulary * dtype.itemsize / 3 / 1024**2):
        ours = run(rounded, dtype, spec=spec, tile_budget_mb=tile_budget_mb)
        for own, true in zip(ours, exact, strict=True):
            assert torch.isfinite(own).all()
            assert (own.double() - true).norm() <= TOLERANCE[dtype] * true.norm().clamp(min=1e-3)


@pytest.mark.parametrize("size", [1e4, float("inf")])
def test_fused_loss_with_huge_and_impossible_logits_is_finite(size: float) -> None:
    states, weight, target, tokens = make(12, 8, 5000, bonus=True)
    bias = torch.zeros(5000, device="cuda")
    bias[::7] = -size
    target = target // 7 * 7 + 1  # a possible token
    ours = fused_linear_grpo_loss(
        states.float(), weight.float(), target.clamp(max=4999), tokens, LossSpec(), bias=bias
    )
    theirs = fused_linear_grpo_loss(
        states, weight, target.clamp(max=4999), tokens, LossSpec(), bias=bias.double(), backend="torch"
    )
    for own, true in zip(ours, theirs, strict=True):
        assert torch.isfinite(own).all()
        torch.testing.assert_close(own.double(), true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [0, 1])
def test_fused_loss_of_no_token_and_of_one_stays_in_the_graph(rows: int) -> None:
    ours = run(make(rows, 16, 100, bonus=False), torch.bfloat16, spec=LossSpec())
    assert [part.shape for part in ours] == [(), (rows,), (rows,), (rows, 16), (100, 16)]
