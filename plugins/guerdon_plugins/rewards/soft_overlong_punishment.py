"""``soft_overlong_punishment``: a negative reward for completions near and above the length limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon import Messages
from guerdon_plugins.shared.token_lengths import token_lengths


class SoftOverlongPunishment:
    """Punishes long completions: 0 up to a length, falling to -1 at the limit, and -1 above it.

    DAPO (arXiv 2503.14476), equation 13, with TRL's names for its params. Lengths count in tokens.

    Args:
        max_completion_len: The limit, at and above which the reward is -1.
        soft_punish_cache: The number of tokens before the limit at which the decrease begins; 0 for a sharp limit.

    Raises:
        ValueError: ``soft_punish_cache`` is negative or above ``max_completion_len``.
    """

    __name__ = "soft_overlong_punishment"

    def __init__(self, max_completion_len: int, soft_punish_cache: int) -> None:
        if not 0 <= soft_punish_cache <= max_completion_len:
            raise ValueError(
                f"soft_punish_cache is {soft_punish_cache} and max_completion_len {max_completion_len}; "
                "need 0 <= soft_punish_cache <= max_completion_len"
            )
        self._limit = max_completion_len
        self._cache = soft_punish_cache

    def __call__(
        self, completions: Sequence[str | Messages], completion_ids: Sequence[Sequence[int]], **columns: Any
    ) -> list[float | None]:
        return [self._punishment(length) for length in token_lengths(completions, completion_ids)]

    def _punishment(self, length: int) -> float:
        over = length - (self._limit - self._cache)
        if over <= 0:
            return 0.0
        return -1.0 if length > self._limit else -over / self._cache
