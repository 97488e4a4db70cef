"""The layout of a micro-batch for the model: padded as in TRL, or flat, with each prompt of a group once.

A flat batch has no padding. Every module sees one row of tokens; only attention needs the sequence boundaries.
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
    """The backbone's inputs, and the places in its output that predict the trained tokens."""

    inputs: dict[str, Any]
    predictors: Tensor
    """For each trained token, the place in the flattened output that predicts it."""


class Batch(NamedTuple):
    """A micro-batch's kept rows on the host, in order."""

    rows: Numbers
    """The row's number in TRL's batch."""
    prompts: Numbers
    """The prompts [rows, longest], padded on the left with a value that is not a token."""
    prompt_lengths: Numbers
    lengths: Numbers
    """The lengths of the completions."""
    trained: NDArray[np.bool_]
    """Which of the completions' tokens are trained [rows, longest]."""

    def take(self, rows: Numbers) -> Batch:
        """Return some of the rows."""
        return Batch(
            rows=self.rows[rows],
            prompts=self.prompts[rows],
            prompt_lengths=self.prompt_lengths[rows],
            lengths=self.lengths[rows],
            trained=self.trained[rows],
        )


class Cut(NamedTuple):
    """What a padded layout leaves out: columns that are padding in all rows."""

    prompts: bool
    """Also those before the prompts. The model then takes ``position_ids``."""


def flat_obstacle(model: Any) -> str | None:
    """Return why the model cannot take flat batches, or ``None`` if it can."""
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


def padded_layout(batch: Batch, inputs: dict[str, Any], cut: Cut | None) -> Layout:
    """Return TRL's layout: prompts padded on the left, completions on the right, all [rows, longest].

    Args:
        batch: The kept rows.
        inputs: TRL's micro-batch, with all rows.
        cut: Which padding of all kept rows is left out; ``None`` for none.
    """
    device, middle = inputs["prompt_ids"].device, inputs["prompt_ids"].shape[1]
    start, end = 0, middle + inputs["completion_ids"].shape[1]
    if cut is not None:
        end = middle + int(batch.lengths.max())
        start = middle - int(batch.prompt_lengths.max()) if cut.prompts else 0
    row, place = np.nonzero(batch.trained)
    predictors, rows = upload(device, row * (end - start) + place + (middle - start - 1), batch.rows)
    ids, mask = (
        torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1)[:, start:end].index_select(
            0, rows
        )
        for kind in ("ids", "mask")
    )
    made = {"input_ids": ids, "attention_mask": mask}
    if start:  # the positions of TRL's batch, which count its padding
        made["position_ids"] = torch.arange(start, end, device=device)[None]
    return Layout(made, predictors)


def flat_layout(batch: Batch, inputs: dict[str, Any], *, share: bool) -> Layout:
    """Return the batch without padding: the distinct prompts, then the completions without their last tokens.

    Args:
        batch: The kept rows.
        inputs: TRL's micro-batch, with all rows.
        share: Whether equal prompts are computed once.
    """
    device = inputs["prompt_ids"].device
    start = inputs["prompt_ids"].shape[1]
    width = start + inputs["completion_ids"].shape[1]
    first, prompt_of = distinct(batch.prompts) if share else (np.arange(len(batch.rows)),) * 2
    prompt_lengths = batch.prompt_lengths[first]
    fed = np.maximum(batch.lengths - 1, 0)  # a completion's last token predicts nothing
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
            # A mask with four dimensions keeps transformers from making its own; FlatAttention applies the real one.
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
            "flat_attention": attention,
        },
        predictor_places,
    )


def distinct(prompts: Numbers) -> tuple[Numbers, Numbers]:
    """Return the first row of each distinct prompt, in order, and the index of each row's prompt among them."""
    known: dict[bytes, int] = {}
    prompt_of = np.array([known.setdefault(prompt.tobytes(), len(known)) for prompt in prompts])
    _, first = np.unique(prompt_of, return_index=True)
    return first.astype(np.int64), prompt_of
