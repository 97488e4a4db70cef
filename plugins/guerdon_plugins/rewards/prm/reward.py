"""The reward ``prm``: a completion's steps, the process reward model, and the value of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from guerdon import Failure, Messages, Score, completion_text
from guerdon.chat_template import ChatTemplate
from guerdon.types import Span
from guerdon_plugins.rewards.prm.local import LocalProcessRewardModel, Steps
from guerdon_plugins.shared.steps import steps_of

Aggregate = Literal["min", "mean", "last", "product"]


class ProcessReward:
    """The values of a completion's steps, by a process reward model.

    A step is the text between two separators. The model is a token classifier with two labels, of which the second says
    that a step is good, or with one. Its value of a step is the probability at the step's last token, from 0 to 1. The
    score has each step's value as a span, for ``supervision: process``.

    Args:
        model: The process reward model: a hub id, a folder, or ``stage:<id>`` for the checkpoint of a stage that uses
            ``process_reward_model``.
        separator: The text between steps, which the model reads after each step too.
        aggregate: The value of the whole: the ``min``, the ``mean``, the ``last`` or the ``product`` of the steps'.
        batch_size: The number of completions that the model scores at once.
        max_length: The most tokens of a prompt with its completion; by default the model's limit. A longer one fails.
        dtype: The dtype to load the model in, by torch's name, or ``auto``.
        chat_template: A Jinja template, instead of the model's own.
        base_dir: The folder that relative paths start from; given by the engine.

    Raises:
        ValueError: A param is out of range.
    """

    __name__ = "prm"

    def __init__(
        self,
        model: str,
        separator: str = "\n\n",
        aggregate: Aggregate = "min",
        batch_size: int = 16,
        max_length: int | None = None,
        dtype: str = "auto",
        chat_template: ChatTemplate | None = None,
        base_dir: Path | None = None,
    ) -> None:
        if not separator:
            raise ValueError("separator is empty; give the text between steps, such as a blank line")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length is {max_length}; it must be at least 1")
        local = base_dir / model if base_dir is not None else Path(model)
        path = str(local) if local.exists() else model
        self._model = LocalProcessRewardModel(path, dtype, chat_template, batch_size, max_length, separator)
        self._separator = separator
        self._aggregate: Aggregate = aggregate

    def preflight(self) -> None:
        """Raise if the model cannot be a process reward model, according to its configuration."""
        self._model.preflight()

    def __call__(
        self, prompts: Sequence[str | Messages], completions: Sequence[str | Messages], **columns: Any
    ) -> list[Score]:
        texts = [completion_text(completion) for completion in completions]
        places = [steps_of(text, self._separator) for text in texts]
        asked = [
            Steps(prompt, [_encodable(text[start:end]) for start, end in found])
            for prompt, text, found in zip(prompts, texts, places, strict=True)
        ]
        return [
            answer if isinstance(answer, Score) else self._score(found, answer)
            for found, answer in zip(places, self._model(asked), strict=True)
        ]

    def _score(self, places: Sequence[tuple[int, int]], values: Sequence[float]) -> Score:
        if not places:
            return Score(0.0, explanation="the completion has no steps")
        if not all(map(math.isfinite, values)):
            return Score.failed(
                Failure.VERIFIER, f"the model gave {values!r:.80}, which are not finite numbers"
            )
        spans = [Span(start, end, value) for (start, end), value in zip(places, values, strict=True)]
        return Score(aggregated(values, self._aggregate), spans=spans)


def aggregated(values: Sequence[float], how: Aggregate) -> float:
    """Return the value of several steps."""
    match how:
        case "min":
            return min(values)
        case "mean":
            return fmean(values)
        case "last":
            return values[-1]
        case "product":
            return math.prod(values)


def _encodable(text: str) -> str:
    """Return the text with each lone surrogate replaced, because tokenizers do not accept them."""
    return text.encode("utf-8", "replace").decode()
