"""Check that two models give each token the same number."""

from __future__ import annotations

from typing import Any

from guerdon import Model
from guerdon.errors import UsageError

__all__ = ["check_vocabularies"]


def check_vocabularies(first: Model, tokenizer: Any, second: Model, other: Any, fix: str) -> None:
    """Check that two tokenizers have the same tokens and numbers.

    Args:
        first: A model.
        tokenizer: Its tokenizer.
        second: Another model.
        other: The other model's tokenizer.
        fix: What to do, as a sentence.

    Raises:
        UsageError: They differ.
    """
    expected, found = tokenizer.get_vocab(), other.get_vocab()
    if expected != found:
        token = min(set(expected.items()) ^ set(found.items()))[0]
        raise UsageError(
            f"models '{first.name}' and '{second.name}' have other vocabularies, such as at the token {token!r}. {fix}"
        )
