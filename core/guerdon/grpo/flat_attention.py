"""Attention on a flat batch: tokens in one row, where completions read the keys and values of their prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, torch's own custom
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "guerdon_flat"
"""The attention's name in transformers."""


class FlatAttention:
    """Whose tokens are whose in a flat batch: its prompts, then its completions but for their last tokens.

    Args:
        prompt_lengths: Of each prompt.
        lengths: Of each completion, without its last token.
        prompt_of: Each completion's prompt.
        device: The batch's.
    """

    def __init__(
        self,
        prompt_lengths: Sequence[int],
        lengths: Sequence[int],
        prompt_of: Sequence[int],
        device: torch.device,
    ) -> None:
        self._prompt_lengths, self._lengths, self._prompt_of = prompt_lengths, lengths, prompt_of
        self._device = device
        starts = [0, *accumulate([*prompt_lengths, *lengths])]
        count = len(prompt_lengths)
        self.prompt_starts, self.starts = starts[:count], starts[count:-1]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """[1, heads, tokens, head_dim] each, and [1, tokens, heads, head_dim] out."""
        half = query.dtype in (torch.float16, torch.bfloat16)
        attend = self.attend_flat if query.is_cuda and half else self.attend_padded
        return attend(query[0], key[0], value[0], scaling)[None]

    def attend_flat(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """By flash attention, which takes sequences of any lengths in a row; CUDA and half precision only.

        Its memory grows with the sequences' lengths, not with their squares.

        Args:
            query: [heads, tokens, head_dim].
            key: [key heads, tokens, head_dim].
            value: As ``key``.
            scaling: By what the products are multiplied.

        Returns:
            [tokens, heads, head_dim].
        """
        spans = self._spans
        query, key, value = (states.transpose(0, 1) for states in (query, key, value))
        first = sum(self._prompt_lengths)
        parts = [_causal(query[:first], key[:first], value[:first], spans.prompts, spans.prompts, scaling)]
        if len(query) > first:
            keys, values = key[spans.read], value[spans.read]
            parts.append(_causal(query[first:], keys, values, spans.completions, spans.seen, scaling))
        return torch.cat(parts)

    def attend_padded(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """The same on any device and in any precision, by way of padded sequences."""
        spread = self._spread
        grouped = len(query) != len(key)
        prompt_keys, prompt_values = key[:, spread.prompts], value[:, spread.prompts]
        mixed = F.scaled_dot_product_attention(
            query[:, spread.prompts].transpose(0, 1),
            prompt_keys.transpose(0, 1),
            prompt_values.transpose(0, 1),
            is_causal=True,
            scale=scaling,
            enable_gqa=grouped,
        )
        parts = [mixed.transpose(1, 2).flatten(0, 1)[spread.prompt_tokens]]
        if spread.completions.numel():
            keys = torch.cat([prompt_keys[:, spread.prompt_of], key[:, spread.completions]], dim=2)
            values = torch.cat([prompt_values[:, spread.prompt_of], value[:, spread.completions]], dim=2)
            mixed = F.scaled_dot_product_attention(
                query[:, spread.completions].transpose(0, 1),
                keys.transpose(0, 1),
                values.transpose(0, 1),
                attn_mask=spread.mask,
                scale=scaling,
                enable_gqa=grouped,
            )
            parts.append(mixed.transpose(1, 2).flatten(0, 1)[spread.completion_tokens])
        return torch.cat(parts)

    # Every layer reads these, and a batch needs one of the two.

    @cached_property
    def _spans(self) -> _Spans:
        read: list[int] = []
        seen: list[int] = []
        for prompt, start, length in zip(self._prompt_of, self.starts, self._lengths, strict=True):
            prompt_start, prompt_length = self.prompt_starts[prompt], self._prompt_lengths[prompt]
            read += range(prompt_start, prompt_start + prompt_length)
            read += range(start, start + length)
            seen.append(prompt_length + length)
        prompts, completions, keys = (
            _Span(
                torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=self._device), max(lengths)
            )
            for lengths in (self._prompt_lengths, self._lengths, seen)
        )
        return _Spans(prompts, completions, keys, torch.tensor(read, device=self._device))

    @cached_property
    def _spread(self) -> _Spread:
        prompts, prompt_valid = self._padded(self.prompt_starts, self._prompt_lengths)
        completions, valid = self._padded(self.starts, self._lengths)
        prompt_of = torch.tensor(self._prompt_of, device=self._device)
        longest = completions.shape[1]
        causal = torch.ones(longest, longest, dtype=torch.bool, device=self._device).tril()
        seen = prompt_valid[prompt_of][:, None].expand(-1, longest, -1)
        mask = torch.cat([seen, causal.expand(len(completions), -1, -1)], dim=2)
        return _Spread(
            prompts=prompts,
            prompt_tokens=prompt_valid.flatten().nonzero()[:, 0],
            completions=completions,
            completion_tokens=valid.flatten().nonzero()[:, 0],
            prompt_of=prompt_of,
            mask=mask[:, None],
        )

    def _padded(self, starts: Sequence[int], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The flat places of sequences [sequences, longest], and which of them are theirs."""
        offsets = torch.arange(max(lengths), device=self._device)
        valid = offsets < torch.tensor(lengths, device=self._device)[:, None]
        places = torch.tensor(starts, device=self._device)[:, None] + offsets
        return places.where(valid, 0), valid


class _Span(NamedTuple):
    """Sequences in a row, as flash attention wants them."""

    ends: Tensor
    """0, and where each sequence ends [sequences + 1], int32."""
    longest: int


class _Spans(NamedTuple):
    """A flat batch for flash attention."""

    prompts: _Span
    completions: _Span
    seen: _Span
    """Of each completion: its prompt and itself."""
    read: Tensor
    """The flat places of what is seen, completion by completion."""


class _Spread(NamedTuple):
    """A flat batch spread over padded sequences."""

    prompts: Tensor
    """The flat places of each prompt's tokens [prompts, longest]; what follows a prompt's end is never read."""
    prompt_tokens: Tensor
    """The prompts' tokens among ``prompts``, flattened."""
    completions: Tensor
    """The same for the completions [rows, longest]."""
    completion_tokens: Tensor
    prompt_of: Tensor
    """Each row's prompt [rows]."""
    mask: Tensor
    """What a row's completion sees [rows, 1, longest, prompt and completion]."""


def _causal(
    query: Tensor, key: Tensor, value: Tensor, queries: _Span, keys: _Span, scaling: float | None
) -> Tensor:
    """Causal attention [tokens, heads, head_dim] in which a sequence's last query sees its last key."""
    mixed = varlen_attn(
        query,
        key,
        value,
        queries.ends,
        keys.ends,
        queries.longest,
        keys.longest,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    assert isinstance(mixed, Tensor)  # a pair only where one is asked for
    return mixed


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
    return flat_attention(query, key, value, scaling), None


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
