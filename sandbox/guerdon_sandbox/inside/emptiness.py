"""Results with which a test may pass because it compares nothing: empty ones, and those that are not numbers.

It needs only the standard library.
"""

import types
from collections.abc import Sized
from typing import Any

from guerdon_sandbox.inside.remote import Remote

_OBJECTS = (Remote, types.GeneratorType, types.CoroutineType)


class _EqualsNothing:
    """An empty result that equals no builtin. A test that accepts it compares nothing of an empty result."""

    def __eq__(self, other: object) -> bool:
        return False if type(other).__module__ == "builtins" else NotImplemented

    def __ne__(self, other: object) -> bool:
        return True if type(other).__module__ == "builtins" else NotImplemented


class _NoItems(_EqualsNothing, list[Any]):
    """Replaces an empty list, tuple, set or dict."""

    def items(self) -> tuple[()]:
        """Return the items of an empty dict."""
        return ()

    keys = values = items


class _NoText(_EqualsNothing, str):
    """Replaces an empty text."""

    __slots__ = ()
    __hash__ = str.__hash__


NOTHING = (_NoItems, _NoText)
"""Stand-ins for empty results."""


def says_nothing(value: object) -> bool:
    """Return whether a value is empty or not a number, or holds only such values. An object may hold nothing."""
    if isinstance(value, list | tuple):
        return all(map(says_nothing, value))
    if isinstance(value, float | complex):
        return value != value
    if value is None or isinstance(value, _OBJECTS):
        return True
    return isinstance(value, Sized) and not len(value)
