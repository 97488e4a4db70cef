"""The fused loss against the plain one: every class of objective, tile size, dtype and edge."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.kernels import LossSpec, Tokens, fused_linear_grpo_loss, linear_loss, token_terms
from guerdon.kernels.objective import LOSS_TYPES

SCALES: dict[str, Any] = {"temperature": 0.7, "logit_scale": 1.3, "softcap": 3.0}
ONE_ROW, EVERYTHING = 1e-4, 1000.0
"""Tile budgets in MiB."""


def case(
    count: int = 37, hidden: int = 8, vocabulary: int = 50, dtype: Any = torch.float64, **given: bool
) -> tuple[Any, ...]:
    """Hidden states, weight, bias, targets and tokens of a few sequences."""
    torch.manual_seed(7)
    sequence = torch.randint(5, (count,)).sort()[0]
    states = torch.randn(count, hidden, dtype=dtype).requires_grad_()
    weight = torch.randn(vocabulary, hidden, dtype=dtype).requires_grad_()
    bias = torch.randn(vocabulary, dtype=dtype).requires_grad_()
    optional = {
        "old_logp": -8 * torch.rand(count, dtype=dtype),
        "ref_logp": -8 * torch.rand(count, dtype=dtype),
        "is_ratio": 2 * torch.rand(count, dtype=dtype),
        "sampling_logp": -8 * torch.rand(count, dtype=dtype),
        "entropy_weight": torch.rand(count, dtype=dtype) / count,
        "chosen": torch.rand(count) < 0.5,
    }
    tokens = Tokens(
        advantage=torch.randn(5, dtype=dtype)[sequence],
        weight=torch.rand(count, dtype=dtype) / max(count, 1),
        sequence=sequence,
        **{name: value for name, value in optional.items() if given.get(name)},
    )
    return states, weight, bias, torch.randint(vocabulary, (count,)), tokens


def plain(states: Any, weight: Any, bias: Any, target: Any, tokens: Tokens, spec: LossSpec) -> Any:
    logits = torch.nn.functional.linear(states, weight, bias) * spec.logit_scale
    if spec.softcap is not None:
        logits = spec.softcap * torch.tanh(logits / spec.softcap)
    log_probs = (logits / spec.temperature).log_softmax(-1)
    logp = log_probs.gather(1, target[:, None])[:, 0]
    return token_terms(spec, logp, -(log_probs.exp() * log_probs).sum(-1), tokens).loss


OPTIONS: list[tuple[dict[str, Any], dict[str, bool]]] = [
    ({}, {}),
    ({"beta": 0.1, "delta": 1.4}, {"old_logp": True, "ref_logp": True, "is_ratio": True}),
    ({"off_policy_mask_threshold": 0.5}, {"sampling_logp": True, "entropy_weight": True}),
    ({"top_entropy_quantile": 0.5}, {"old_logp": True, "entropy_weight": True}),
    ({"top_entropy_quantile": 0.5}, {"old_logp": True, "entropy_weight": True, "chosen": True}),
]
OBJECTIVES = [
    (LossSpec(loss_type=loss_type, importance_sampling_level=level, **options, **SCALES), given)
    for loss_type, level, (options, given) in itertools.product(
        LOSS_TYPES,
        ("token", "sequence"),
        OPTIONS,
    )
]


@pytest.mark.parametrize(("spec", "given"), OBJECTIVES)
@pytest.mark.parametrize("budget", [ONE_ROW, 0.005, EVERYTHING])
@pytest.mark.parametrize("frozen", [False, True])
def test_loss_and_gradients_are_the_plain_ones(
    spec: LossSpec, given: dict[str, bool], budget: float, frozen: bool
) -> None:
    states, weight, bias, target, tokens = case(**given)
    if frozen:
        weight.requires_grad_(False)
        bias.requires_grad_(False)
    inputs = [tensor for tensor in (states, weight, bias) if tensor.requires_grad]
    result = fused_linear_grpo_loss(states, weight, target, tokens, spec, bias=bias, tile_budget_mb=budget)
    expected = plain(states, weight, bias, target, tokens, spec)
    torch.testing.assert_close(result.loss, expected, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(3 * result.loss, inputs)
    for ours, theirs in zip(gradients, torch.autograd.grad(3 * expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "given", [{"old_logp": True, "ref_logp": True, "entropy_weight": True}, {"old_logp": True}]
)
def test_gradcheck(given: dict[str, bool]) -> None:
    states, weight, bias, target, tokens = case(count=9, hidden=3, vocabulary=7, **given)
    spec = LossSpec(loss_type="sapo", beta=0.1 if "ref_logp" in given else 0.0, **SCALES)

    def loss() -> Any:
        return fused_linear_grpo_loss(states, weight, target, tokens, spec, bias=bias).loss

    # Not torch's own gradcheck: it runs a backward pass many times, and this one gives its gradients once.
    inputs = (states, weight, bias)
    for tensor, gradient in zip(inputs, torch.autograd.grad(loss(), inputs), strict=True):
        flat, numeric = tensor.detach().view(-1), torch.empty(tensor.numel(), dtype=torch.float64)
        for place in range(len(flat)):
            values = []
            for shift in (1e-6, -2e-6, 1e-6):
                flat[place] += shift
                values.append(loss().item())
            numeric[place] = (values[0] - values[1]) / 2e-6
        torch.testing.assert_close(gradient.view(-1), numeric, rtol=1e-6, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 9),
    st.integers(2, 70),
    st.floats(1e-5, 0.02),
    st.sampled_from(LOSS_TYPES),
)
def test_any_shape_and_tile_gives_the_same(
    count: int, hidden: int, vocabulary: int, budget: float, loss_type: str
) -> None:
    states, weight, _, target, tokens = case(count, hidden, vocabulary, old_logp=True)
    spec = LossSpec(loss_type=loss_type)
    loss = fused_linear_grpo_loss(states, weight, target, tokens, spec, tile_budget_mb=budget).loss
    expected = plain(states, weight, None, target, tokens, spec)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, (states, weight)) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("bonus", [False, True])
@pytest.mark.parametrize("scales", [{}, {"softcap": 30.0, "temperature": 0.3}])
def test_probabilities_below_the_least_number(scales: dict[str, Any], bonus: bool) -> None:
    """Large logits: the exponentials of most are 0 in float32, that of a sampled token too."""
    states, weight, _, target, tokens = case(64, 8, 300, entropy_weight=bonus)
    spec = LossSpec(**scales)
    expected = plain(states.mul(40), weight, None, target, tokens, spec)
    narrow = [tensor.detach().float().requires_grad_() for tensor in (states, weight)]
    loss = fused_linear_grpo_loss(
        narrow[0].mul(40), narrow[1], target, tokens, spec, tile_budget_mb=0.02
    ).loss
    for ours, theirs in zip(
        torch.autograd.grad(loss, narrow), torch.autograd.grad(expected, (states, weight)), strict=True
    ):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_narrow_dtypes(dtype: Any, tolerance: float) -> None:
    exact = case(200, 16, 300, old_logp=True)
    states, weight, _, target, tokens = exact
    spec = LossSpec()
    narrow = [tensor.detach().to(dtype).requires_grad_() for tensor in (states, weight)]
    same = [tensor.detach().double().requires_grad_() for tensor in narrow]
    tokens32 = Tokens(
        **{
            field.name: value.float() if value is not None and value.is_floating_point() else value
            for field in dataclasses.fields(tokens)
            for value in [getattr(tokens, field.name)]
        }
    )
    loss = fused_linear_grpo_loss(narrow[0], narrow[1], target, tokens32, spec, tile_budget_mb=0.05).loss
    assert loss.dtype == torch.float32
    ours = torch.autograd.grad(loss, narrow)
    theirs = torch.autograd.grad(plain(same[0], same[1], None, target, tokens, spec), same)
    for gradient, expected in zip(ours, theirs, strict=True):
        assert gradient.dtype == dtype
        assert (gradient.double() - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("normalizer", [64, 300_000])
def test_float16_under_a_gradient_scaler_keeps_small_gradients(
    normalizer: int, frozen: bool, level: str
) -> None:
    """A logit's gradient is a probability over the number of tokens, which float16 has only if it is scaled before."""
    torch.manual_seed(3)
    count, scale = 64, 2.0**16
    states, weight = torch.randn(count, 16).half(), (torch.randn(8000, 16) / 4).half().float()
    target, bonus = torch.randint(8000, (count,)), 0.1 * torch.rand(count) / normalizer
    tokens = Tokens(
        advantage=torch.randn(count),
        weight=torch.rand(count) / normalizer,
        sequence=torch.zeros(count, dtype=torch.long),
        entropy_weight=None if frozen else bonus,
    )
    spec = LossSpec(importance_sampling_level=level)
    inputs = states.clone().requires_grad_(), weight.clone().requires_grad_(not frozen)
    exact = tuple(tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in inputs)
    with torch.autocast("cpu", torch.float16):
        loss = fused_linear_grpo_loss(inputs[0], inputs[1], target, tokens, spec, tile_budget_mb=0.3).loss
    trained = slice(1 if frozen else 2)
    ours = torch.autograd.grad(scale * loss, inputs[trained])
    theirs = torch.autograd.grad(plain(exact[0], exact[1], None, target, tokens, spec), exact[trained])
    for gradient, expected in zip(ours, theirs, strict=True):
        assert (gradient.double() / scale - expected).norm() <= 2e-3 * expected.norm()


def test_huge_logits_stay_finite() -> None:
    states, weight, _, target, tokens = case(dtype=torch.float32)
    result = fused_linear_grpo_loss(states * 1e4, weight, target, tokens, LossSpec())
    assert all(torch.isfinite(value).all() for value in result)
    assert all(torch.isfinite(value).all() for value in torch.autograd.grad(result.loss, (states, weight)))


@pytest.mark.parametrize("scales", [{}, {"temperature": 0.7}])
@pytest.mark.parametrize("bonus", [False, True])
def test_logits_of_minus_infinity_have_no_probability_and_no_gradient(
    scales: dict[str, Any], bonus: bool
) -> None:
    """A head masks the padding of its vocabulary in this way. The plain loss lacks them: its entropy is NaN there."""
    states, weight, bias, target, tokens = case(entropy_weight=bonus)
    possible = torch.arange(50) % 7 != 0
    target = target // 7 * 7 + 1
    spec = LossSpec(**scales)
    masked = bias.detach().masked_fill(~possible, float("-inf")).requires_grad_()
    ours = fused_linear_grpo_loss(states, weight, target, tokens, spec, bias=masked, tile_budget_mb=0.005)
    place = possible.cumsum(0) - 1
    expected = plain(states, weight[possible], bias[possible], place[target], tokens, spec)
    torch.testing.assert_close(ours.loss, expected)
    assert torch.isfinite(ours.entropy).all()
    gradients = torch.autograd.grad(ours.loss, (states, weight, masked))
    torch.testing.assert_close(gradients[0], torch.autograd.grad(expected, states, retain_graph=True)[0])
    for gradient, whole in zip(gradients[1:], torch.autograd.grad(expected, (weight, bias)), strict=True):
        torch.testing.assert_close(gradient, whole)  # which is 0 where nothing is possible


@pytest.mark.parametrize(
    ("device", "dtype", "backend", "rows"),
    [
        ("cuda", torch.float32, "auto", "TritonRows"),
        ("cuda", torch.bfloat16, "auto", "TritonRows"),
        ("cuda", torch.float16, "auto", "TritonRows"),
        ("cuda", torch.bfloat16, "torch", "Rows"),
        ("cpu", torch.float32, "auto", "Rows"),
        ("cpu", torch.bfloat16, "auto", "Rows"),
    ],
)
def test_auto_takes_triton_on_a_card_and_torch_elsewhere(
    device: str, dtype: torch.dtype, backend: Any, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton_logits = pytest.importorskip("guerdon.kernels.triton_logits", reason="Triton is not installed")

    class ChosenError(Exception):
        pass

    class OnCuda(torch.Tensor):
        is_cuda = True

    def choose(hidden: torch.Tensor, *_: object) -> None:
        raise ChosenError(str(hidden.dtype))

    for owner, name in ((triton_logits, "TritonRows"), (linear_loss, "Rows")):
        monkeypatch.setattr(owner, name, choose if name == rows else None)
    memory = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    states, weight = (torch.ones(shape, 8, dtype=dtype) for shape in (6, 50))
    if device == "cuda":
        states = states.as_subclass(OnCuda)
    numbers = torch.zeros(6)
    tokens = Tokens(numbers, numbers, numbers.long())
    with pytest.raises(ChosenError, match=str(dtype)):
        fused_linear_grpo_loss(states, weight, numbers.long(), tokens, LossSpec(), backend=backend)


def test_without_gradients_none_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    states, weight, _, target, tokens = case()
    monkeypatch.setattr("guerdon.kernels.logits.Rows.gradient", None)
    with torch.no_grad():
        loss = fused_linear_grpo_loss(states, weight, target, tokens, LossSpec()).loss
    torch.testing.assert_close(loss, plain(states, weight, None, target, tokens, LossSpec()).detach())


def test_gradients_are_given_once() -> None:
    states, weight, _, target, tokens = case()
    loss = fused_linear_grpo_loss(states, weight, target, tokens, LossSpec()).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_memory_stays_flat_as_sequences_grow() -> None:
    """The largest tensor of the loss is a tile, however many tokens there are."""
    largest = []
    for count in (256, 2048):
        states, weight, _, target, tokens = case(count, 4, 5000, torch.float32)
        seen = [0]

        class Spy(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(
                self, function: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                result = function(*args, **(kwargs or {}))
                if isinstance(result, torch.Tensor):
                    seen[0] = max(seen[0], result.untyped_storage().nbytes())  # noqa: B023, used in the loop
                return result

        with Spy():  # type: ignore[no-untyped-call]
            fused_linear_grpo_loss(
                states, weight, target, tokens, LossSpec(), tile_budget_mb=1
            ).loss.backward()
        largest.append(seen[0])
    assert largest[0] == largest[1] <= 1024**2


@pytest.mark.parametrize("autocast", [False, True])
def test_gradient_of_the_head_is_one_buffer(autocast: bool) -> None:
    """It lies in the loss from its forward pass to its backward pass, and is what the optimizer gets."""
    states, weight, _, target, tokens = case(64, 32, 4000, torch.float32)
    size = weight.untyped_storage().nbytes()
    made: list[torch.UntypedStorage] = []

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.untyped_storage().nbytes() >= size:
                storage = result.untyped_storage()
                known = [weight.untyped_storage(), *made]
                if all(storage.data_ptr() != other.data_ptr() for other in known):
                    made.append(storage)
            return result

    with Spy():  # type: ignore[no-untyped-call]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = fused_linear_grpo_loss(states, weight, target, tokens, LossSpec(), tile_budget_mb=0.2).loss
        (3 * loss).backward()
    assert len(made) == 1
    assert weight.grad.untyped_storage().data_ptr() == made[0].data_ptr()
