"""How a micro-batch goes through the model: padded as TRL has it, or flat, with each prompt of a group once.

In a flat batch nothing is computed for padding. Every module sees one row of tokens; only attention has to know whose
tokens are whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guerdon.grpo.flat_attention import ATTENTION, FlatAttention

FLAT_ARCHITECTURES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Layout:
    """The backbone's inputs, and where its output predicts the completions' tokens."""

    inputs: dict[str, Any]
    predictors: Tensor
    """Of each completion token of each row, in order, the place in the flattened output that predicts it."""


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
    attention = FlatAttention(prompt_lengths, fed, prompt_of, device)
    tokens = [token for prompt in distinct for token in prompt]
    positions = [position for length in prompt_lengths for position in range(length)]
    predictors: list[int] = []
    for row, length in enumerate(lengths):
        prompt = prompt_of[row]
        tokens += completion_ids[row, : fed[row]].tolist()
        positions += range(prompt_lengths[prompt], prompt_lengths[prompt] + fed[row])
        if length:
            predictors.append(attention.prompt_starts[prompt] + prompt_lengths[prompt] - 1)
            predictors += range(attention.starts[row], attention.starts[row] + fed[row])

    inputs = {
        "input_ids": torch.tensor(tokens, device=device)[None],
        "position_ids": torch.tensor(positions, device=device)[None],
        # Four dimensions keep transformers from making a mask of its own; FlatAttention has the true one.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "flat_attention": attention,
    }
    return Layout(inputs, torch.tensor(predictors, device=device, dtype=torch.long))
