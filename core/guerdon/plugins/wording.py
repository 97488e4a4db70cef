"""Say what is wrong with a value in the words of a manifest, and not in pydantic's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["reason_of", "reasons_of"]

_LISTS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type", "sequence_str"})
_EXPECTS = "Input should be "
_MAPPINGS = frozenset({"dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"})

_PLAIN: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "none": "null",
    "path": "a path",
}
"""What to give for a plain type, by the first word of pydantic's kinds of errors on it."""

_BOUNDS: Mapping[str, str] = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "missing": "all items",
}

_TYPE_ERRORS = frozenset(
    {"type", "parsing", "from_float", "number", "required", "unicode", "parsing_size", "sub_type"}
)
"""The rest of these kinds."""


def reasons_of(details: Iterable[ErrorDetails]) -> str:
    """Return what to give instead of a value, by all its errors: a value of several types has one for each."""
    return ", or ".join(dict.fromkeys(reason_of(detail) for detail in details))


def reason_of(detail: ErrorDetails, *, names_plugin: bool = False) -> str:
    """Return what to give instead, or else what pydantic says, without a full stop.

    Args:
        detail: One error of a ``ValidationError``.
        names_plugin: Whether a text at this place would name a plugin, which an entry gives as ``{use: name}``.
    """
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind in _LISTS or (kind == "is_instance_of" and context["class"] == "Sequence"):
        return f"give a list, such as [{_written(detail['input'], names_plugin)}]"
    if kind in _MAPPINGS:
        named = names_plugin and isinstance(detail["input"], str)
        return (
            f"give a mapping, such as {_written(detail['input'], names_plugin) if named else '{key: value}'}"
        )
    if kind == "too_short":
        return f"give at least {_items(context['min_length'])}, not {context['actual_length']}"
    if kind == "too_long":
        return f"give at most {_items(context['max_length'])}, not {context['actual_length']}"
    if kind in _BOUNDS:
        return f"give {_BOUNDS[kind].format(**{name: _plainly(value) for name, value in context.items()})}"
    plain, _, rest = kind.partition("_")
    if plain in _PLAIN and rest in _TYPE_ERRORS:
        return f"give {_PLAIN[plain]}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if message.startswith(_EXPECTS):
        return f"give {message.removeprefix(_EXPECTS).removeprefix('a valid ')}"
    return message


def _written(value: Any, names_plugin: bool) -> str:
    """Return a value as an item of a manifest's list, or a place holder for a value that is not plain."""
    if names_plugin and isinstance(value, str) and value:
        return f"{{use: {value}}}"
    if isinstance(value, Mapping):
        return "{...}"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) and value != "" else "..."


def _plainly(bound: Any) -> Any:
    """Return a bound as one writes it: 0 for 0.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"
