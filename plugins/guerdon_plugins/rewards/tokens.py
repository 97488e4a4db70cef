"""``tokens``: a reward for right answers whose length in tokens keeps a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from guerdon import Failure, Messages, Score
from guerdon.types import completion_text
from guerdon.verifier import load_verifier
from guerdon_plugins.shared.token_lengths import token_lengths


class Tokens:
    """Rewards a right answer whose length is a target, or is at most the target: L1 (arXiv 2503.04697, section 3).

    With ``exact``, the reward is the verifier's value less ``alpha`` for each token of difference (equation 1). With
    ``max``, it is the verifier's value times ``alpha * (target - length) + delta``, clipped to 0 and 1 (equation 2).
    Lengths count in the model's tokens. A completion that the verifier does not judge gets no reward.

    Args:
        target: The target in tokens of all rows; by default the row's column ``target_tokens``.
        mode: ``exact`` or ``max``.
        alpha: The reward of a token.
        delta: With ``max``, the factor of a right answer whose length is the target.
        verifier: The verifier that decides right and wrong, named as in a manifest.
        verifier_params: The verifier's params.
        base_dir: The folder that a verifier's file is relative to; given by the engine.

    Raises:
        ValueError: ``target`` is below 1, ``alpha`` is not above 0, or ``delta`` is outside of 0 to 1.
    """

    __name__ = "tokens"

    def __init__(
        self,
        target: int | None = None,
        mode: Literal["exact", "max"] = "exact",
        alpha: float = 0.0003,
        delta: float = 0.5,
        verifier: str = "math",
        verifier_params: Mapping[str, Any] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        if target is not None and target < 1:
            raise ValueError(f"target is {target}; give a number of tokens of at least 1")
        if alpha <= 0 or not 0 <= delta <= 1:
            raise ValueError(f"alpha is {alpha} and delta {delta}; need alpha > 0 and 0 <= delta <= 1")
        self._target = target
        self._exact = mode == "exact"
        self._alpha = alpha
        self._delta = delta
        self._verify = load_verifier(verifier, verifier_params, base_dir)

    def __call__(
        self,
        completions: Sequence[str | Messages],
        completion_ids: Sequence[Sequence[int]],
        target_tokens: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[Score | None]:
        per_completion = {name: values for name, values in columns.items() if isinstance(values, list)}
        targets = target_tokens or [None] * len(completions)
        lengths = token_lengths(completions, completion_ids)
        return [
            self._reward(
                completion_text(completion),
                {name: values[i] for name, values in per_completion.items()},
                length,
                target,
            )
            for i, (completion, length, target) in enumerate(zip(completions, lengths, targets, strict=True))
        ]

    def _reward(self, completion: str, row: Mapping[str, Any], length: int, of_row: Any) -> Score | None:
        target = self._target if self._target is not None else of_row
        if not isinstance(target, int) or isinstance(target, bool) or target < 1:
            return Score.failed(
                Failure.REFERENCE,
                f"target_tokens is {target!r:.40}; give a number of tokens, or set the param 'target'",
            )
        score = self._verify(completion, row)
        if score.value is None:
            return score
        if self._exact:
            value = score.value - self._alpha * abs(target - length)
        else:
            value = score.value * min(max(self._alpha * (target - length) + self._delta, 0.0), 1.0)
        return Score(value, explanation=f"{length} tokens, for a target of {target}")
