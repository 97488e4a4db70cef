"""How a micro-batch goes through the model: padded as TRL has it, or flat, with each prompt of a group once.

In a flat batch nothing is computed for padding. Every module sees one row of tokens; only attention has to know whose
tokens are whose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guerdon.grpo.flat_attention import ATTENTION, FlatAttention
from guerdon.grpo.host import Numbers, ranges, upload
from guerdon.sampling.architectures import decoder_obstacle


@dataclass(frozen=True, slots=True)
class Layout:
    """The backbone's inputs, and where its output predicts the trained tokens."""

    inputs: dict[str, Any]
    predictors: Tensor
    """Of each trained token, the place in the flattened output that predicts it."""


class Batch(NamedTuple):
    """A micro-batch's rows on the host; of each kept row, in order."""

    rows: Numbers
    """Its number in TRL's batch."""
    prompts: Numbers
    """Its prompt [rows, longest], padded on the left with what no token is."""
    prompt_lengths: Numbers
    lengths: Numbers
    """Of its completion."""
    trained: NDArray[np.bool_]
    """Which of its completion's tokens are trained [rows, longest]."""


def flat_obstacle(model: Any) -> str | None:
    """Why the model cannot take flat batches, or ``None`` if it can."""
    config = model.config
    if (reason := decoder_obstacle(config)) is not None:
        return reason
    if config._attn_implementation not in ("sdpa", ATTENTION):
        return f"its attention is {config._attn_implementation}, not sdpa"
    if any(getattr(module, "attention_dropout", 0) for module in model.modules()):
        return "its attention has dropout"
    return None


def has_dropout(model: Any) -> bool:
    """Return whether a training forward of the model draws random numbers."""
    return any(
        getattr(module, "attention_dropout", 0) or (isinstance(module, torch.nn.Dropout) and module.p > 0)
        for module in model.modules()
    )


def padded_layout(batch: Batch, inputs: dict[str, Any]) -> Layout:
    """TRL's own: prompts padded on the left, completions on the right, all [rows, longest].

    Args:
        batch: The kept rows.
        inputs: TRL's micro-batch, with all rows.
    """
    start = inputs["prompt_ids"].shape[1]
    longest = inputs["completion_ids"].shape[1]
    row, place = np.nonzero(batch.trained)
    predictors, rows = upload(
        inputs["prompt_ids"].device, row * (start + longest) + place + (start - 1), batch.rows
    )
    ids, mask = (
        torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1).index_select(0, rows)
        for kind in ("ids", "mask")
    )
    return Layout({"input_ids": ids, "attention_mask": mask}, predictors)


def flat_layout(batch: Batch, inputs: dict[str, Any], *, share: bool) -> Layout:
    """The same batch without padding: the distinct prompts, then the completions but for their last tokens.

    Args:
        batch: The kept rows.
        inputs: TRL's micro-batch, with all rows.
        share: Whether equal prompts are computed once.
    """
    device = inputs["prompt_ids"].device
    start = inputs["prompt_ids"].shape[1]
    width = start + inputs["completion_ids"].shape[1]
    first, prompt_of = _distinct(batch.prompts) if share else (np.arange(len(batch.rows)),) * 2
    prompt_lengths = batch.prompt_lengths[first]
    fed = np.maximum(batch.lengths - 1, 0)  # nothing is predicted from a completion's last token
    attention = FlatAttention(prompt_lengths, fed, prompt_of)

    in_padded = batch.rows * width
    prompt_starts = in_padded[first] + start - prompt_lengths
    tokens = np.concatenate([ranges(prompt_starts, prompt_lengths), ranges(in_padded + start, fed)])
    before = batch.prompt_lengths
    positions = np.concatenate([ranges(np.zeros_like(first), prompt_lengths), ranges(before, fed)])
    row, place = np.nonzero(batch.trained)
    last_of_prompt = attention.prompt_starts[prompt_of] + batch.prompt_lengths - 1
    predictors = np.where(place == 0, last_of_prompt[row], attention.starts[row] + place - 1)

    token_places, position_ids, predictor_places = upload(device, tokens, positions, predictors)
    padded = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1).flatten()
    return Layout(
        {
            "input_ids": padded.index_select(0, token_places)[None],
            "position_ids": position_ids[None],
            # Four dimensions keep transformers from making a mask of its own; FlatAttention has the true one.
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
            "flat_attention": attention,
        },
        predictor_places,
    )


def _distinct(prompts: Numbers) -> tuple[Numbers, Numbers]:
    """The first row of each distinct prompt, in their order, and each row's prompt among them."""
    known: dict[bytes, int] = {}
    prompt_of = np.array([known.setdefault(prompt.tobytes(), len(known)) for prompt in prompts])
    _, first = np.unique(prompt_of, return_index=True)
    return first.astype(np.int64), prompt_of
