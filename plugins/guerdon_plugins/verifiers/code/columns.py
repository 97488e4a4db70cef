"""Read the columns of a row, each with its type. A column of another type is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_plugins.verifiers.code.cases import SuiteError


def text(mapping: Mapping[str, Any], key: str) -> str:
    """Return a column of text."""
    value = mapping.get(key)
    if not isinstance(value, str):
        raise SuiteError(f"'{key}' must be text, got {value!r:.80}")
    return value


def optional_text(mapping: Mapping[str, Any], key: str) -> str | None:
    """Return a column of text, or None if the row lacks it."""
    return None if mapping.get(key) is None else text(mapping, key)


def lines(value: object) -> str:
    """Return an input or output, which may be a list of its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise SuiteError(f"an input or output is a {type(value).__name__}; it must be text, or a list of lines")


def text_or_lines(mapping: Mapping[str, Any], key: str) -> str:
    """Return a column of text, which may be a list of its lines."""
    value = mapping.get(key)
    return "\n".join(value) if isinstance(value, list) and is_texts(value) else text(mapping, key)


def is_texts(value: object) -> bool:
    """Return whether a value is a list of texts."""
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def present(case: Mapping[str, Any], key: str) -> Any:
    """Return a column of any type."""
    if key not in case:
        raise SuiteError(f"a case has no '{key}', only {', '.join(map(repr, case))}")
    return case[key]


def mappings(row: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """Return a column that is a list of mappings, and not empty."""
    cases = row[key]
    if not isinstance(cases, Sequence) or not cases or not all(isinstance(case, Mapping) for case in cases):
        raise SuiteError(f"'{key}' must be a list of mappings with input and output, and not empty")
    return cases


def function_name(case: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """Return the name of the function that a case calls: its own, or that of the row."""
    places = (case, _metadata(case), reference, _metadata(reference))
    name = next((place[key] for place in places for key in ("fn_name", "func_name") if place.get(key)), None)
    if not isinstance(name, str) or not name.isidentifier():
        raise SuiteError(f"'fn_name' must name the function to call, got {name!r}")
    return name


def _metadata(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    value = json_value(mapping.get("metadata"))
    return value if isinstance(value, Mapping) else {}


def json_value(value: Any) -> Any:
    """Return the value of JSON text, or the value itself if it is not such text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
