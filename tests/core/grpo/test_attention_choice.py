"""Which attention a flat batch takes, for each dtype, card and version of torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom

from guerdon.grpo import flat_attention, torch_seam
from guerdon.grpo.flat_attention import FlatAttention, choose_kernel

CUDA = torch.device("cuda", 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes torch tell of a card with a compute capability."""

    def has(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)

    return has


@pytest.mark.parametrize(
    ("dtype", "device", "capability", "head_dim", "kernel"),
    [
        (torch.bfloat16, CUDA, (9, 0), 128, "flash"),
        (torch.float16, CUDA, (8, 0), 64, "flash"),
        (torch.bfloat16, CUDA, (8, 6), 256, "flash"),
        (torch.bfloat16, CUDA, (9, 0), 320, "padded"),
        (torch.float32, CUDA, (9, 0), 128, "padded"),
        (torch.float16, CUDA, (7, 5), 128, "padded"),  # T4
        (torch.float16, CUDA, (7, 0), 128, "padded"),  # V100
        (torch.bfloat16, torch.device("cpu"), (9, 0), 128, "padded"),
        (torch.float32, torch.device("cpu"), (9, 0), 128, "padded"),
    ],
)
def test_choose_kernel_takes_flash_in_half_precision_from_sm80_on(
    card: Any,
    dtype: torch.dtype,
    device: torch.device,
    capability: tuple[int, int],
    head_dim: int,
    kernel: str,
) -> None:
    card(capability)
    assert choose_kernel(dtype, device, head_dim) == kernel


def test_choose_kernel_without_varlen_attention_is_padded(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card((9, 0))
    monkeypatch.setattr(torch_seam, "varlen_attn", None)
    assert choose_kernel(torch.bfloat16, CUDA, 64) == "padded"


def states(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(1, heads, 18, 8, dtype=dtype) for heads in (4, 2, 2))


def test_attend_under_autocast_gets_its_dtype_whatever_rotary_embeddings_made_of_the_queries() -> None:
    seen: list[set[torch.dtype]] = []

    class Spy(FlatAttention):
        def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
            seen.append({query.dtype, key.dtype, value.dtype})
            return super().__call__(query, key, value, scaling)

    query, key, value = states()
    attention = Spy([3, 5], [4, 0, 6], [0, 0, 1])
    module: Any = SimpleNamespace()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        flat_attention._attend(module, query, key, value.bfloat16(), None, flat_attention=attention)
    flat_attention._attend(module, query, key, value, None, flat_attention=attention)
    assert seen == [{torch.bfloat16}, {torch.float32}]


def sdpa_of_each(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, key_ends: Tensor, scale: float
) -> Tensor:
    parts = []
    for row in range(len(ends) - 1):
        q = query[ends[row] : ends[row + 1]].transpose(0, 1)
        k, v = (part[key_ends[row] : key_ends[row + 1]].transpose(0, 1) for part in (key, value))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        if q.shape[1]:
            parts.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(0, 1))
    return torch.cat(parts)


def varlen_of_torch_2_11(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
    *, scale: float, window_size: tuple[int, int] = (-1, -1),
) -> Tensor:  # fmt: skip
    assert window_size == (-1, 0)
    assert query.shape[1] == key.shape[1]
    return sdpa_of_each(query, key, value, cu_seq_q, cu_seq_k, scale)


def varlen_of_torch_2_10(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
    is_causal: bool = False, *, scale: float,
) -> Tensor:  # fmt: skip
    assert is_causal
    assert query.shape[1] == key.shape[1]
    return sdpa_of_each(query, key, value, cu_seq_q, cu_seq_k, scale)


@pytest.mark.parametrize("version", [varlen_of_torch_2_11, varlen_of_torch_2_10])
def test_flash_without_grouped_heads_in_torch_repeats_the_keys(
    monkeypatch: pytest.MonkeyPatch, version: Any
) -> None:
    monkeypatch.setattr(torch_seam, "varlen_attn", version)
    attention = FlatAttention([3, 5], [4, 0, 6], [0, 0, 1])
    query, key, value = (part[0] for part in states())
    torch.testing.assert_close(
        attention.attend_flat(query, key, value, 0.3), attention.attend_padded(query, key, value, 0.3)
    )


def test_padded_attention_on_cuda_gives_the_kernel_no_grouped_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mask and grouped heads CUDA has only the kernel that holds all scores."""
    asked: list[tuple[bool, int, int]] = []
    original = F.scaled_dot_product_attention

    def spy(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        asked.append((options["enable_gqa"], query.shape[1], key.shape[1]))
        return original(query, key, value, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    attention = FlatAttention([3, 5], [4, 0, 6], [0, 0, 1])
    query, key, value = (part[0] for part in states())
    expected = attention.attend_padded(query, key, value, 0.3)
    assert asked == [(True, 4, 2)] * 2
    asked.clear()

    class OnCuda(Tensor):
        is_cuda = True

    on_card = query.as_subclass(OnCuda)
    torch.testing.assert_close(
        attention.attend_padded(on_card, key, value, 0.3).as_subclass(Tensor), expected
    )
    assert asked == [(False, 4, 4)] * 2


def scores(attention: FlatAttention) -> int:
    """How many products of a query and a key the padded blocks hold."""
    blocks = attention._spread(torch.device("cpu")).blocks
    return sum(block.shape[0] * block.shape[1] * block.key_shape[1] for block in blocks)


@pytest.mark.parametrize("long", ["prompt", "completion"])
def test_one_long_sequence_among_short_ones_costs_its_own_tokens(long: str) -> None:
    prompts, lengths = [10] * 16, [10] * 16
    alone = FlatAttention([2000] if long == "prompt" else [10], [2000] if long == "completion" else [10], [0])
    (prompts if long == "prompt" else lengths)[3] = 2000
    together = FlatAttention(prompts, lengths, list(range(16)))
    assert scores(together) < 1.02 * scores(alone)
