"""The reward ``my_plugin``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon import Messages
from guerdon.types import completion_text


class MyPlugin:
    """1 for a completion of at most ``max_words`` words, and less the longer it is.

    Args:
        max_words: The largest number of words that earns 1.

    Raises:
        ValueError: ``max_words`` is below 1.
    """

    __name__ = "my_plugin"  # the name in TRL's metrics

    def __init__(self, max_words: int = 50) -> None:
        if max_words < 1:
            raise ValueError(f"max_words is {max_words}; it must be at least 1")
        self._max_words = max_words

    def __call__(self, completions: Sequence[str | Messages], **columns: Any) -> list[float | None]:
        lengths = [len(completion_text(completion).split()) for completion in completions]
        return [min(1.0, self._max_words / length) if length else 0.0 for length in lengths]
