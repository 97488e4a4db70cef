"""Attention on a flat batch: one row of tokens, where completions read the keys and values of their prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, torch's own custom
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from guerdon.grpo import torch_seam
from guerdon.grpo.host import Numbers, ranges, upload

ATTENTION = "guerdon_flat"
"""The name of the attention in transformers."""

Kernel = Literal["flash", "padded"]

_SHORT = 64
"""Sequences up to this length are padded together: separate calls would cost more than the padding."""


def choose_kernel(dtype: torch.dtype, device: torch.device, head_dim: int) -> Kernel:
    """Return the kernel: ``flash`` on CUDA cards from sm80 on in half precision, else ``padded``.

    Args:
        dtype: The queries' dtype, after autocast's cast.
        device: The queries' device.
        head_dim: A head's width.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    return "flash" if half and head_dim <= 256 and torch_seam.has_flash(device) else "padded"


class FlatAttention:
    """Attention within the sequences of a flat batch: its prompts, then its completions without their last tokens.

    Args:
        prompt_lengths: The length of each prompt.
        lengths: The length of each completion, without its last token.
        prompt_of: The index of each completion's prompt.
    """

    def __init__(
        self,
        prompt_lengths: Sequence[int] | Numbers,
        lengths: Sequence[int] | Numbers,
        prompt_of: Sequence[int] | Numbers,
    ) -> None:
        self._prompt_lengths, self._lengths, self._prompt_of = (
            np.asarray(numbers, dtype=np.int64) for numbers in (prompt_lengths, lengths, prompt_of)
        )
        # Every layer on one device uses the same spans, and a batch needs only one of the two forms.
        self._spans = cache(self._make_spans)
        self._spread = cache(self._make_spread)
        all_lengths = np.concatenate([self._prompt_lengths, self._lengths])
        starts = np.cumsum(all_lengths) - all_lengths
        count = len(self._prompt_lengths)
        self.prompt_starts, self.starts = starts[:count], starts[count:]
        self._tokens = int(all_lengths.sum())

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Compute attention: [1, heads, tokens, head_dim] each in, [1, tokens, heads, head_dim] out."""
        kernel = choose_kernel(query.dtype, query.device, query.shape[-1])
        attend = self.attend_flat if kernel == "flash" else self.attend_padded
        return attend(query[0], key[0], value[0], scaling)[None]

    def attend_flat(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Compute attention by flash attention, on sequences of any lengths; CUDA and half precision only.

        Memory grows linearly with the sequences' lengths.

        Args:
            query: [heads, tokens, head_dim].
            key: [key heads, tokens, head_dim].
            value: As ``key``.
            scaling: The factor of the products.

        Returns:
            [tokens, heads, head_dim].
        """
        spans = self._spans(query.device)
        query, key, value = (states.transpose(0, 1) for states in (query, key, value))
        first = int(self._prompt_lengths.sum())
        own = (spans.prompts.ends,) * 2, (spans.prompts.longest,) * 2
        parts = [torch_seam.flash(query[:first], key[:first], value[:first], *own, scaling)]
        if self._tokens > first:
            # Several completions read one prompt. index_select sums its gradients without a sort.
            keys, values = (states.index_select(0, spans.read) for states in (key, value))
            ends = spans.completions.ends, spans.seen.ends
            longest = spans.completions.longest, spans.seen.longest
            parts.append(torch_seam.flash(query[first:], keys, values, ends, longest, scaling))
        return torch.cat(parts)

    def attend_padded(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Compute the same on any device and in any precision, on padded sequences of similar lengths.

        Args:
            query: [heads, tokens, head_dim].
            key: [key heads, tokens, head_dim].
            value: As ``key``.
            scaling: The factor of the products.

        Returns:
            [tokens, heads, head_dim].
        """
        spread = self._spread(query.device)
        grouped = len(query) != len(key)
        # With grouped heads and a mask, CUDA has only the kernel that holds all scores.
        if grouped and query.is_cuda:
            groups = len(query) // len(key)
            key, value = (torch_seam.repeat_heads(states, groups, dim=0) for states in (key, value))
            grouped = False
        parts = []
        for block in spread.blocks:
            queries, keys, values = (
                states.index_select(1, places).view(len(states), *shape, -1).transpose(0, 1)
                for states, places, shape in (
                    (query, block.queries, block.shape),
                    (key, block.keys, block.key_shape),
                    (value, block.keys, block.key_shape),
                )
            )
            mixed = F.scaled_dot_product_attention(
                queries,
                keys,
                values,
                attn_mask=block.mask,
                is_causal=block.mask is None,
                scale=scaling,
                enable_gqa=grouped,
            )
            parts.append(mixed.transpose(1, 2).flatten(0, 1))
        return torch.cat(parts).index_select(0, spread.back)

    def _make_spans(self, device: torch.device) -> _Spans:
        starts = np.stack([self.prompt_starts[self._prompt_of], self.starts], axis=1).flatten()
        lengths = np.stack([self._prompt_lengths[self._prompt_of], self._lengths], axis=1).flatten()
        seen = self._prompt_lengths[self._prompt_of] + self._lengths
        counted = (self._prompt_lengths, self._lengths, seen)
        read, *ends = upload(
            device, ranges(starts, lengths), *(np.cumsum([0, *numbers]) for numbers in counted)
        )
        prompts, completions, keys = (
            _Span(end.to(torch.int32), int(numbers.max(initial=0)))
            for end, numbers in zip(ends, counted, strict=True)
        )
        return _Spans(prompts, completions, keys, read)

    def _make_spread(self, device: torch.device) -> _Spread:
        """Return sequences of similar lengths, padded together.

        Two prompts, a completion of three tokens (``x y``, the last one is never fed) of the first one and one of two
        of the second one, in one flat row, and the blocks in which they meet::

            flat      a b | c | x y | z         places 0 to 5
            prompts   queries = keys   a b      causal; what follows a prompt's end is seen by no token before it
                                       c .
            replies   queries  x y     keys     a b | x y      x sees a b x, y sees a b x y
                               z .              c . | z .      z sees c z
            back      for each of the flat places, where the blocks' outputs, one after another, have it
        """
        blocks = [self._prompt_block(rows) for rows in _alike(self._prompt_lengths)]
        fed = np.flatnonzero(self._lengths)
        of_fed = self._prompt_lengths[self._prompt_of[fed]], self._lengths[fed]
        blocks += [self._completion_block(fed[rows]) for rows in _alike(*of_fed)]
        back = np.empty(self._tokens, dtype=np.int64)
        first = 0
        for block in blocks:
            valid = block.valid.flatten()
            back[block.queries.flatten()[valid]] = first + np.flatnonzero(valid)
            first += valid.size
        arrays = (array for block in blocks for array in (block.queries, block.keys))
        back_places, *places = upload(device, back, *arrays)
        return _Spread(
            [
                _Block(queries, block.queries.shape, keys, block.keys.shape, _mask(block, device))
                for block, queries, keys in zip(blocks, places[::2], places[1::2], strict=True)
            ],
            back_places,
        )

    def _prompt_block(self, rows: Numbers) -> _Plan:
        places, valid = self._padded(self.prompt_starts[rows], self._prompt_lengths[rows])
        return _Plan(places, valid, places, None)

    def _completion_block(self, rows: Numbers) -> _Plan:
        prompts = self._prompt_of[rows]
        before, seen = self._padded(self.prompt_starts[prompts], self._prompt_lengths[prompts])
        places, valid = self._padded(self.starts[rows], self._lengths[rows])
        return _Plan(places, valid, np.concatenate([before, places], axis=1), seen)

    def _padded(self, starts: Numbers, lengths: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return the flat places of sequences [sequences, longest], and which of them belong to the sequence.

        The places for padding are those of other sequences' tokens and are masked. They differ from each other, because
        gradients that are added to one place wait for each other.
        """
        offsets = np.arange(lengths.max())
        return (starts[:, None] + offsets) % self._tokens, offsets < lengths[:, None]


def _mask(plan: _Plan, device: torch.device) -> Tensor | None:
    """Return the mask of a block's completions [rows, 1, longest, prompt and completion]; ``None`` means causal."""
    if plan.prompt_seen is None:
        return None
    rows, longest = plan.queries.shape
    (seen,) = upload(device, plan.prompt_seen)
    causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    prompt = seen.view(plan.prompt_seen.shape).bool()[:, None].expand(-1, longest, -1)
    return torch.cat([prompt, causal.expand(rows, -1, -1)], dim=2)[:, None]


def _alike(*lengths: Numbers) -> list[Numbers]:
    """Return groups of sequence numbers with similar lengths, so that padding at most doubles any of them."""
    kinds = np.stack([np.frexp(np.maximum(some, _SHORT) - 1)[1] for some in lengths], axis=1)
    _, kind = np.unique(kinds, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    return [np.flatnonzero(kind == number) for number in range(kind.max(initial=-1) + 1)]


class _Span(NamedTuple):
    """Consecutive sequences, in flash attention's format."""

    ends: Tensor
    """0, and the end of each sequence [sequences + 1], int32."""
    longest: int


class _Spans(NamedTuple):
    """A flat batch for flash attention."""

    prompts: _Span
    completions: _Span
    seen: _Span
    """The keys of each completion: its prompt and itself."""
    read: Tensor
    """The flat places of the keys, completion by completion."""


class _Plan(NamedTuple):
    """Sequences that are padded together, on the host."""

    queries: Numbers
    """Flat places [rows, longest]."""
    valid: NDArray[np.bool_]
    """Which of the queries belong to the row's sequence."""
    keys: Numbers
    prompt_seen: NDArray[np.bool_] | None
    """Which keys of the prompts belong to the row; ``None`` for prompts, whose keys are at their queries' places."""


class _Block(NamedTuple):
    """The same on the device, flattened."""

    queries: Tensor
    shape: tuple[int, ...]
    keys: Tensor
    key_shape: tuple[int, ...]
    mask: Tensor | None


class _Spread(NamedTuple):
    """A flat batch spread over blocks of padded sequences."""

    blocks: list[_Block]
    back: Tensor
    """Each flat token's place in the blocks' outputs, one after another."""


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    flat_attention: FlatAttention | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    if flat_attention is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return result
    if torch.is_autocast_enabled(query.device.type):
        # Rotary embeddings return float32 under autocast, and flash attention does not support float32.
        narrow = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(narrow), key.to(narrow), value.to(narrow)
    return flat_attention(query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
