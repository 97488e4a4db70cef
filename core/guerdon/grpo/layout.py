"""How a micro-batch goes through the model: padded as TRL has it, or flat, with each prompt of a group once.

In a flat batch nothing is computed for padding. Every module sees one row of tokens; only attention, which has to know
whose tokens are whose, spreads them over sequences, and completions read their prompt's keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, torch's own custom
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "guerdon_flat"
FLAT_ARCHITECTURES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Layout:
    """The backbone's inputs, and where its output predicts the completions' tokens."""

    inputs: dict[str, Any]
    predictors: Tensor
    """Of each completion token of each row, in order, the place in the flattened output that predicts it."""


@dataclass(frozen=True, slots=True)
class FlatAttention:
    """Where the tokens of a flat batch stand: its prompts, then its completions but for their last tokens."""

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

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Attention on flat tokens: [1, heads, tokens, head_dim] each, and [1, tokens, heads, head_dim] out."""
        query, key, value = query[0], key[0], value[0]
        grouped = len(query) != len(key)
        prompt_keys, prompt_values = key[:, self.prompts], value[:, self.prompts]
        mixed = F.scaled_dot_product_attention(
            query[:, self.prompts].transpose(0, 1),
            prompt_keys.transpose(0, 1),
            prompt_values.transpose(0, 1),
            is_causal=True,
            scale=scaling,
            enable_gqa=grouped,
        )
        parts = [mixed.transpose(1, 2).flatten(0, 1)[self.prompt_tokens]]
        if self.completions.numel():
            keys = torch.cat([prompt_keys[:, self.prompt_of], key[:, self.completions]], dim=2)
            values = torch.cat([prompt_values[:, self.prompt_of], value[:, self.completions]], dim=2)
            mixed = F.scaled_dot_product_attention(
                query[:, self.completions].transpose(0, 1),
                keys.transpose(0, 1),
                values.transpose(0, 1),
                attn_mask=self.mask,
                scale=scaling,
                enable_gqa=grouped,
            )
            parts.append(mixed.transpose(1, 2).flatten(0, 1)[self.completion_tokens])
        return torch.cat(parts)[None]


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


def flat_obstacle(model: Any) -> str | None:
    """Why the model cannot take flat batches, or ``None`` if it can."""
    config = model.config
    if config.model_type not in FLAT_ARCHITECTURES:
        return f"its architecture is {config.model_type}, not one of {', '.join(FLAT_ARCHITECTURES)}"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "its attention is not full in every layer"
    if config._attn_implementation not in ("sdpa", ATTENTION):
        return f"its attention is {config._attn_implementation}, not sdpa"
    return None


def padded_layout(
    prompt_ids: Tensor, prompt_mask: Tensor, completion_ids: Tensor, completion_mask: Tensor
) -> Layout:
    """TRL's own: prompts padded on the left, completions on the right, all [rows, longest]."""
    rows, longest = completion_ids.shape
    start = prompt_ids.shape[1]
    width = start + longest
    places = torch.arange(rows, device=prompt_ids.device)[:, None] * width
    predictors = (places + torch.arange(start - 1, width - 1, device=prompt_ids.device))[
        completion_mask.bool()
    ]
    return Layout(
        {
            "input_ids": torch.cat([prompt_ids, completion_ids], dim=1),
            "attention_mask": torch.cat([prompt_mask, completion_mask], dim=1),
        },
        predictors,
    )


def flat_layout(
    prompt_ids: Tensor, prompt_mask: Tensor, completion_ids: Tensor, completion_mask: Tensor, *, share: bool
) -> Layout:
    """The same batch without padding.

    Args:
        prompt_ids: [rows, longest], padded on the left.
        prompt_mask: 1 at its tokens.
        completion_ids: [rows, longest], padded on the right.
        completion_mask: 1 at its tokens.
        share: Whether equal prompts are computed once.
    """
    device = prompt_ids.device
    prompts = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(prompt_ids, prompt_mask, strict=True)]
    keys: Sequence[Any] = prompts if share else list(enumerate(prompts))
    number = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    distinct = [key if share else key[1] for key in number]
    prompt_of = [number[key] for key in keys]
    prompt_lengths = [len(prompt) for prompt in distinct]
    lengths = completion_mask.sum(1).tolist()

    fed = [max(length - 1, 0) for length in lengths]  # nothing is predicted from a completion's last token
    starts = _starts(prompt_lengths, 0)
    first = sum(prompt_lengths)
    completion_starts = _starts(fed, first)
    tokens = [token for prompt in distinct for token in prompt]
    positions = [position for length in prompt_lengths for position in range(length)]
    predictors: list[int] = []
    for row, length in enumerate(lengths):
        prompt = prompt_of[row]
        tokens += completion_ids[row, : fed[row]].tolist()
        positions += range(prompt_lengths[prompt], prompt_lengths[prompt] + fed[row])
        if length:
            predictors.append(starts[prompt] + prompt_lengths[prompt] - 1)
            predictors += range(completion_starts[row], completion_starts[row] + fed[row])

    prompt_places, prompt_valid = _spread(starts, prompt_lengths, device)
    completion_places, completion_valid = _spread(completion_starts, fed, device)
    of_row = torch.tensor(prompt_of, device=device)
    longest = completion_places.shape[1]
    causal = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    mask = torch.cat(
        [prompt_valid[of_row][:, None].expand(-1, longest, -1), causal.expand(len(lengths), -1, -1)], dim=2
    )
    attention = FlatAttention(
        prompts=prompt_places,
        prompt_tokens=prompt_valid.flatten().nonzero()[:, 0],
        completions=completion_places,
        completion_tokens=completion_valid.flatten().nonzero()[:, 0],
        prompt_of=of_row,
        mask=mask[:, None],
    )
    inputs = {
        "input_ids": torch.tensor(tokens, device=device)[None],
        "position_ids": torch.tensor(positions, device=device)[None],
        # Four dimensions keep transformers from making a mask of its own; FlatAttention has the true one.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "flat_attention": attention,
    }
    return Layout(inputs, torch.tensor(predictors, device=device, dtype=torch.long))


def _starts(lengths: Sequence[int], first: int) -> list[int]:
    starts = []
    for length in lengths:
        starts.append(first)
        first += length
    return starts


def _spread(starts: list[int], lengths: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The flat places of sequences [sequences, longest], and which of them are theirs."""
    offsets = torch.arange(max(lengths), device=device)
    valid = offsets < torch.tensor(lengths, device=device)[:, None]
    places = torch.tensor(starts, device=device)[:, None] + offsets
    return places.where(valid, 0), valid
