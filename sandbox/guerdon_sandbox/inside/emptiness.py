"""Results with which a test may pass because it compares nothing: empty ones, and those that are not numbers.

It needs only the standard library.
"""

import types
from collections.abc import Iterator, Sized
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


class NoCells:
    """Replaces an empty array, column or frame: what is computed from it and numbers is empty, too.

    It equals nothing that has a size, so a test that expects an empty table does not accept it.
    """

    _kind: type
    _truth: bool

    def __init__(self, kind: type, truth: bool = False) -> None:
        self._kind = kind
        self._truth = truth

    # The class of the result that it replaces, for isinstance.
    __class__ = property(lambda self: self._kind)

    def __getattr__(self, name: str) -> "NoCells":
        if name.startswith("__"):
            raise AttributeError(name)
        return NoCells(self._kind, name == "all")

    def __call__(self, *_: object, **__: object) -> "NoCells":
        return self

    def __bool__(self) -> bool:
        return self._truth

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _cell_by_cell(self, *others: object) -> Any:
        return NotImplemented if any(map(has_size, others)) else NoCells(self._kind)

    def __eq__(self, other: object) -> Any:
        return False if has_size(other) else NoCells(self._kind)

    def __ne__(self, other: object) -> Any:
        return True if has_size(other) else NoCells(self._kind)

    __hash__ = None  # type: ignore[assignment]
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = (
        _cell_by_cell
    )
    __truediv__ = __rtruediv__ = __pow__ = __mod__ = __and__ = __or__ = __neg__ = __abs__ = __invert__ = (
        _cell_by_cell
    )
    __round__ = __getitem__ = _cell_by_cell


NOTHING = (_NoItems, _NoText)
"""Stand-ins for empty results."""


def has_size(value: object) -> bool:
    """Return whether a value holds others, unlike a number or a text."""
    return isinstance(value, Sized) and not isinstance(value, str | bytes | NoCells)


def is_table(value: object) -> bool:
    """Return whether a value is an array of numpy, or a column or a frame of pandas."""
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas") and isinstance(value, Sized)


def says_nothing(value: object) -> bool:
    """Return whether a value is empty or not a number, or holds only such values. An object may hold nothing."""
    if isinstance(value, list | tuple):
        return all(map(says_nothing, value))
    if value is None or isinstance(value, _OBJECTS):
        return True
    if is_table(value):
        return not value.size or is_nan(value)  # type: ignore[attr-defined]
    return is_nan(value) or (isinstance(value, Sized) and not len(value))


def is_nan(value: object) -> bool:
    """Return whether a value is NaN, or holds NaN and nothing else."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(is_nan, value))
    if is_table(value):
        return _is_nan_table(value)
    is_number = isinstance(value, float | complex) or type(value).__module__ == "numpy"
    return is_number and bool(value != value)


def _is_nan_table(value: Any) -> bool:
    different = value != value
    return bool(value.size) and bool(getattr(different, "values", different).all())
