"""``cosine``: a reward for right answers that prefers short ones, and forgives long attempts that fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon import Messages, Row
from guerdon.types import completion_text
from guerdon.verifier import load_verifier
from guerdon_plugins.shared.token_lengths import token_lengths


class Cosine:
    """Scales the reward for a right and for a wrong answer by the completion's length, along half a cosine.

    A right answer earns from ``max_value_correct`` (at length 0) down to ``min_value_correct`` (at ``max_len`` and
    beyond). A wrong one earns from ``min_value_wrong`` up to ``max_value_wrong``, so that a failing model learns to
    think longer. "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), section 4.2; names and
    defaults are open-R1's. Lengths count in tokens. A completion that the verifier does not judge gets no reward.

    Args:
        min_value_wrong: The reward of a wrong answer at length 0.
        max_value_wrong: The reward of a wrong answer at ``max_len``.
        min_value_correct: The reward of a right answer at ``max_len``.
        max_value_correct: The reward of a right answer at length 0.
        max_len: The length at which the reward stops changing.
        verifier: The verifier that decides right (a score of 1) and wrong, named as in a manifest.
        verifier_params: The verifier's params.
        base_dir: The folder that a verifier's file is relative to; given by the engine.

    Raises:
        ValueError: A minimum is above its maximum, or ``max_len`` is not positive.
    """

    __name__ = "cosine"

    def __init__(
        self,
        min_value_wrong: float = -1.0,
        max_value_wrong: float = -0.5,
        min_value_correct: float = 0.5,
        max_value_correct: float = 1.0,
        max_len: int = 1000,
        verifier: str = "math",
        verifier_params: Mapping[str, Any] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        if max_len < 1:
            raise ValueError(f"max_len is {max_len}; it must be at least 1")
        for kind, low, high in (
            ("wrong", min_value_wrong, max_value_wrong),
            ("correct", min_value_correct, max_value_correct),
        ):
            if low > high:
                raise ValueError(f"min_value_{kind} is {low}, above max_value_{kind}, {high}")
        self._wrong = min_value_wrong, max_value_wrong  # at length 0, at max_len
        self._correct = max_value_correct, min_value_correct
        self._max_len = max_len
        self._verify = load_verifier(verifier, verifier_params, base_dir)

    def __call__(
        self, completions: Sequence[str | Messages], completion_ids: Sequence[Sequence[int]], **columns: Any
    ) -> list[float | None]:
        per_completion = {name: values for name, values in columns.items() if isinstance(values, list)}
        rows = [{name: values[i] for name, values in per_completion.items()} for i in range(len(completions))]
        lengths = token_lengths(completions, completion_ids)
        return [
            self._reward(completion_text(completion), row, length)
            for completion, row, length in zip(completions, rows, lengths, strict=True)
        ]

    def _reward(self, completion: str, row: Row, length: int) -> float | None:
        correctness = self._verify(completion, row).value
        if correctness is None:
            return None
        start, end = self._correct if correctness >= 1 else self._wrong
        done = min(length / self._max_len, 1.0)  # beyond its half, a cosine would rise again
        return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
