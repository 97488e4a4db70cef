"""Reads the columns of a row. What is not as it must be is an error that names the column."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guerdon_plugins.verifiers.code.cases import SuiteError


def name(case: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    places = (case, metadata(case), reference, metadata(reference))
    name = next((place[key] for place in places for key in ("fn_name", "func_name") if place.get(key)), None)
    if not isinstance(name, str) or not name.isidentifier():
        raise SuiteError(f"'fn_name' must name the function to call, got {name!r}")
    return name


def metadata(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    value = parsed(mapping.get("metadata"))
    return value if isinstance(value, Mapping) else {}


def parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def lines(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise SuiteError(f"an input or output is a {type(value).__name__}; it must be text, or a list of lines")


def present(case: Mapping[str, Any], key: str) -> Any:
    if key not in case:
        raise SuiteError(f"a case has no '{key}', only {', '.join(map(repr, case))}")
    return case[key]


def text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str):
        raise SuiteError(f"'{key}' must be text, got {value!r:.80}")
    return value


def text_or_lines(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return "\n".join(value) if isinstance(value, list) and is_texts(value) else text(mapping, key)


def optional_text(mapping: Mapping[str, Any], key: str) -> str | None:
    return None if mapping.get(key) is None else text(mapping, key)


def is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
