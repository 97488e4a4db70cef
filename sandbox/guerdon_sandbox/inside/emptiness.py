"""Results with which a test may pass because it compares nothing: empty ones, and those that are not numbers.

It needs only the standard library.
"""

import types
from collections.abc import Sized
from typing import Any

from guerdon_sandbox.inside.remote import Remote

_OBJECTS = (Remote, types.GeneratorType, types.CoroutineType)


class Nothing(list[Any]):
    """An empty result of no kind: it equals no builtin. A test that accepts it compares nothing of an empty result."""

    def __eq__(self, other: object) -> bool:
        return False if type(other).__module__ == "builtins" else NotImplemented

    def __ne__(self, other: object) -> bool:
        return True if type(other).__module__ == "builtins" else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> tuple[()]:
        """Return the items of an empty dict."""
        return ()

    keys = values = items


def says_nothing(value: object) -> bool:
    """Return whether a value is empty or not a number, or holds only such values. An object may hold nothing."""
    if isinstance(value, list | tuple):
        return all(map(says_nothing, value))
    if isinstance(value, float | complex):
        return value != value
    if value is None or isinstance(value, _OBJECTS):
        return True
    return isinstance(value, Sized) and not len(value)
