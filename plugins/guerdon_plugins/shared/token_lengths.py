"""Return completions' lengths in tokens, for rewards that depend on them."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon import Messages
from guerdon.types import completion_text


def token_lengths(
    completions: Sequence[str | Messages], completion_ids: Sequence[Sequence[int]]
) -> list[int]:
    """Return the completions' lengths in tokens.

    Raises:
        ValueError: A completion has text and no token ids, as when a file of texts is scored.
    """
    for completion, ids in zip(completions, completion_ids, strict=True):
        if not ids and completion_text(completion):
            raise ValueError("lengths count in tokens, and a completion comes without token ids")
    return [len(ids) for ids in completion_ids]
