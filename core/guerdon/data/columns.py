"""Read a row's columns by name, or by a dotted path into nested values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.data.json_values import brief

__all__ = [
    "column",
    "matches",
]

_INDEX = re.compile(r"-?[0-9]{1,9}")


def column(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path: a column's name, or names and list indexes joined by dots.

    ``reward_model.ground_truth`` is the key ``ground_truth`` of the column ``reward_model``; ``messages.-1.content`` is
    the content of the last message. A name that holds dots itself is found first.

    Raises:
        LookupError: There is no such value; the message says where the path ends and what is there.
    """
    value: Any = row
    rest = path
    while True:
        if isinstance(value, Mapping) and rest in value:
            return value[rest]
        name, dot, after = rest.partition(".")
        found, value = _step(value, name)
        if not found:
            raise LookupError(_missing(value, path, path[: len(path) - len(rest)].rstrip("."), name))
        if not dot:
            return value
        rest = after


def _step(value: Any, name: str) -> tuple[bool, Any]:
    """Return the value one name further along a path.

    Returns:
        Whether the name exists, and the value there. If the name does not exist, the input value.
    """
    if isinstance(value, Mapping) and name in value:
        return True, value[name]
    if _is_list(value) and _INDEX.fullmatch(name) and -len(value) <= int(name) < len(value):
        return True, value[int(name)]
    return False, value


def _missing(value: Any, path: str, parent: str, name: str) -> str:
    if isinstance(value, Mapping):
        there = ", ".join(map(str, value)) or "none"
        return f"there is no column '{path}'" + (
            f": '{parent}' has no '{name}', only {there}" if parent else f", only {there}"
        )
    what = f"{len(value)} items" if _is_list(value) else f"the value {brief(value)[:60]}"
    return f"there is no column '{path}': '{parent}' has {what}, so no '{name}'"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def matches(when: Mapping[str, Any], columns: Mapping[str, Any]) -> bool:
    """Return whether a row is routed to what has this ``when``: each column equals the value, or one of a list's."""
    return all(
        columns.get(column) in (wanted if isinstance(wanted, list) else [wanted])
        for column, wanted in when.items()
    )
