"""Values of the candidate's own subclasses of builtins: enum members with a value, named tuples, lists with methods.

It needs the standard library only.
"""

import enum
import operator
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

_IMMUTABLE = (str, int, float, complex, tuple, frozenset, bytes)
_MUTABLE = (list, dict, set, bytearray)
BUILTIN = (*_IMMUTABLE, *_MUTABLE)
VALUES = (*BUILTIN, os.PathLike)
"""The classes whose instances may cross as values."""
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
    complex: lambda value: complex(value.real, value.imag),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    bytes: lambda value: bytes(bytes.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    bytearray: lambda value: bytearray(bytearray.__iter__(value)),
}
_OWN_EQUALITY = frozenset({"__eq__", "__ne__", "__hash__"})
_OPERATORS = _OWN_EQUALITY | {
    f"__{name}__"
    for name in (
        *("lt", "le", "gt", "ge", "add", "radd", "iadd", "sub", "rsub", "mul", "rmul", "matmul", "truediv"),
        *("rtruediv", "floordiv", "mod", "pow", "neg", "pos", "abs", "invert", "and", "or", "xor", "lshift"),
        *("rshift", "len", "iter", "next", "getitem", "setitem", "delitem", "contains", "missing", "bool"),
        *("call", "int", "float", "index", "round", "enter", "exit"),
        *("getattr", "getattribute", "setattr", "delattr"),
    )
}

JUDGES = frozenset(
    name
    for kind in (str, bytes, set, frozenset, float, int)
    for name in dir(kind)
    if name.startswith("is") or name.endswith("swith")
) | {"equals"}
"""Methods of builtins and frames that judge. An object that a test takes for a value would pass by them."""
OPERATORS: dict[str, Callable[..., Any]] = {
    "pow": pow,
    "divmod": divmod,
    **{
        name: getattr(operator, name)
        for name in (
            *("lt", "le", "gt", "ge", "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod"),
            *("lshift", "rshift", "and_", "or_", "xor", "neg", "pos", "abs", "invert"),
        )
    },
}
"""Operators on the builtins that objects of the candidate are."""


def plain(value: Any) -> Any:
    """Return the builtin that a value of a subclass is."""
    return next(make(value) for kind, make in _PLAIN.items() if isinstance(value, kind))


@cache
def value_kind(kind: Any) -> str:
    """Return how an instance of a subclass of a builtin crosses.

    Returns:
        ``value`` for the builtin that also has the object's attributes, ``plain`` for an object that is compared by the
        builtin, ``own`` for one with its own equality, or an empty text for the builtin alone.
    """
    if issubclass(kind, (enum.Enum, os.PathLike)):
        return "value"
    names = dict(_own_members(kind))
    operators = names.keys() & _OPERATORS
    methods = [name for name in names if not name.startswith("_")]
    if operators or (methods and not issubclass(kind, _IMMUTABLE)):
        return "own" if operators & _OWN_EQUALITY else "plain"
    return "value" if methods or names.keys() & {"__str__", "__repr__"} else ""


def _own_members(kind: type) -> Iterator[tuple[str, Any]]:
    for one in kind.__mro__:
        if one.__module__ == "candidate":
            yield from vars(one).items()


class Value:
    """The attributes, methods and texts of a value, which its object in the candidate's process gives."""

    _remote: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_remote":
            raise AttributeError(name)
        return getattr(self._remote, name)

    def __repr__(self) -> str:
        return repr(self._remote)

    def __str__(self) -> str:
        return str(self._remote)

    def __format__(self, spec: str) -> str:
        return format(self._remote, spec)

    def __copy__(self) -> "Value":
        return self

    def __deepcopy__(self, _: object) -> "Value":
        return self


def value_of(builtin: Any, remote: object) -> Any:
    """Return a builtin or path with the attributes of an object of the candidate.

    Raises:
        StopIteration: It is a value of another kind.
    """
    made_of: Any = type(builtin)
    if isinstance(builtin, os.PathLike):
        made = _class(made_of)(str(builtin))
    else:
        base = next(kind for kind in _IMMUTABLE if isinstance(builtin, kind))
        made = base.__new__(_class(made_of), builtin)
    made.__dict__["_remote"] = remote
    return made


@cache
def _class(base: Any) -> Any:
    """Return the class of values of a builtin or path. What a path does with files, its object does."""
    is_path = issubclass(base, os.PathLike)
    files = _names(base) - _names(sys.modules["pathlib"].PurePath) if is_path else ()
    return type("Value", (Value, base), {name: property(partial(_attribute, name)) for name in files})


def _names(kind: Any) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def _attribute(name: str, value: Value) -> Any:
    return getattr(value._remote, name)
