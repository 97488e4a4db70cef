"""Say what is wrong with a value in the words of a manifest, and not in pydantic's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["reason_of"]

_LISTS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})
_MAPPINGS = frozenset({"dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"})


def reason_of(detail: ErrorDetails, *, names_plugin: bool = False) -> str:
    """Return what to give instead, or else what pydantic says, without a full stop.

    Args:
        detail: One error of a ``ValidationError``.
        names_plugin: Whether a text at this place would name a plugin, which an entry gives as ``{use: name}``.
    """
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    if kind in _LISTS:
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
    return detail["msg"].removeprefix("Value error, ")


def _written(value: Any, names_plugin: bool) -> str:
    """Return a value as an item of a manifest's list, or a place holder for a value that is not plain."""
    if names_plugin and isinstance(value, str) and value:
        return f"{{use: {value}}}"
    if isinstance(value, Mapping):
        return "{...}"
    return str(value) if isinstance(value, str | int | float) and str(value) else "..."


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"
