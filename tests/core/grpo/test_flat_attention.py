"""Attention on a flat batch, against attention on each sequence by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812, torch's own custom

from guerdon.grpo import torch_seam
from guerdon.grpo.flat_attention import FlatAttention

HEADS, KEY_HEADS, DIM = 4, 2, 8
SCALING = 0.3

batches = st.lists(st.integers(1, 5), min_size=1, max_size=3).flatmap(
    lambda prompts: st.tuples(
        st.just(prompts),
        st.lists(st.tuples(st.integers(0, len(prompts) - 1), st.integers(0, 6)), min_size=1, max_size=5),
    )
)


def states(
    tokens: int, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(heads, tokens, DIM, dtype=dtype, device=device, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    return query, key, value


def attend_each(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Plain causal attention [heads, tokens, head_dim] for the last queries of one sequence."""
    sees = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).tril(key.shape[1] - query.shape[1])
    return F.scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=sees, scale=SCALING, enable_gqa=True
    )[0]


def by_sequence(
    attention: FlatAttention,
    prompts: list[int],
    rows: list[tuple[int, int]],
    query: Tensor,
    key: Tensor,
    value: Tensor,
) -> Tensor:
    parts = []
    for start, length in zip(attention.prompt_starts, prompts, strict=True):
        place = slice(start, start + length)
        parts.append(attend_each(query[:, place], key[:, place], value[:, place]))
    for start, (prompt, length) in zip(attention.starts, rows, strict=True):
        begin = attention.prompt_starts[prompt]
        read = [*range(begin, begin + prompts[prompt]), *range(start, start + length)]
        if length:
            parts.append(attend_each(query[:, start : start + length], key[:, read], value[:, read]))
    return torch.cat(parts, dim=1).transpose(0, 1)


def flash_by_hand(
    query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, longest: int, longest_key: int,
    *, scale: float, window_size: tuple[int, int], enable_gqa: bool,
) -> Tensor:  # fmt: skip
    """What torch documents of its flash attention on sequences in a row, which runs on CUDA only."""
    assert (window_size, enable_gqa) == ((-1, 0), True)
    assert query_ends.dtype == key_ends.dtype == torch.int32
    parts = []
    ends = zip(query_ends.tolist(), key_ends.tolist(), strict=True)
    (first, key_first), *rest = ends
    for last, key_last in rest:
        assert last - first <= longest
        assert key_last - key_first <= longest_key
        queries, keys, values = query[first:last], key[key_first:key_last], value[key_first:key_last]
        if last > first:
            parts.append(
                attend_each(*(part.transpose(0, 1) for part in (queries, keys, values))).transpose(0, 1)
            )
        first, key_first = last, key_last
    assert (first, key_first) == (len(query), len(key))
    return torch.cat(parts)


@settings(deadline=None, max_examples=60)
@given(batch=batches, flat=st.booleans())
def test_each_way_is_attention_on_each_sequence(
    batch: tuple[list[int], list[tuple[int, int]]], flat: bool
) -> None:
    prompts, rows = batch
    attention = FlatAttention(prompts, [n for _, n in rows], [p for p, _ in rows])
    inputs = states(sum(prompts) + sum(length for _, length in rows))
    expected = by_sequence(attention, prompts, rows, *inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_seam, "varlen_attn", flash_by_hand)
        given_out = (attention.attend_flat if flat else attention.attend_padded)(*inputs, SCALING)
    torch.testing.assert_close(given_out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), inputs) for out in (given_out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_torch_takes_the_call() -> None:
    prompts, lengths, prompt_of = [3, 5], [4, 0, 6], [0, 0, 1]
    with FakeTensorMode():  # flash attention's own checks of its arguments, without a GPU to run it
        attention = FlatAttention(prompts, lengths, prompt_of)
        inputs = states(18, dtype=torch.bfloat16)
        mixed = attention.attend_flat(*inputs, SCALING)
        gradients = torch.autograd.grad(mixed.sum(), inputs)
    assert (mixed.shape, mixed.dtype) == ((18, HEADS, DIM), torch.bfloat16)
    assert [gradient.shape for gradient in gradients] == [part.shape for part in inputs]
