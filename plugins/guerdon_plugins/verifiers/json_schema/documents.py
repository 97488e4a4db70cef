"""Read a JSON, YAML, TOML, XML or CSV document into plain values. Hostile documents are refused, never expanded."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, TypeAlias
from xml.etree import ElementTree

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

Format: TypeAlias = Literal["json", "yaml", "toml", "xml", "csv"]

MAX_CHARACTERS = 100_000
MAX_YAML = 50_000
"""YAML is read at 30 to 100 characters a millisecond."""
MAX_DEPTH = 100

FENCES: Mapping[str, tuple[str, ...]] = {
    "json": ("json",),
    "yaml": ("yaml", "yml", "json"),
    "toml": ("toml",),
    "xml": ("xml",),
    "csv": ("csv",),
}
"""The languages of a fenced block that holds a document of a format."""


def parse(text: str, format: Format) -> Any:
    """Return a document as values of JSON.

    An XML element is a mapping of ``@attribute``, child and ``#text``, or a text; a CSV file is a list of mappings.

    Raises:
        ValueError: The text is not a document of the format, is too long, is nested too deeply, or refers to itself.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the document has more than {MAX_CHARACTERS} characters")
    try:
        value = _PARSERS[format](text.removeprefix("\ufeff"))
    except (ValueError, RecursionError, YAMLError, ElementTree.ParseError, csv.Error) as error:
        raise ValueError(f"it is not {format.upper()}: {str(error)[:100] or type(error).__name__}") from None
    return _plain(value, MAX_DEPTH)


def _plain(value: Any, depth: int) -> Any:
    """Return a value as JSON holds it: dates as text, keys as text."""
    if depth == 0:
        raise ValueError(f"the document is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise ValueError(f"{str(value)[:40]} is not a number of JSON, or too large")
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _yaml(text: str) -> Any:
    if len(text) > MAX_YAML:
        raise ValueError(f"it has more than {MAX_YAML} characters")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _NoAliases
    return yaml.load(text)


class _NoAliases(Composer):
    """Refuses aliases, which a small document can expand to a huge one, and too many levels."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH or self.parser.check_event(AliasEvent):
            raise ValueError("it has an alias, or too many levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_MANY_KEYS = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){{{MAX_DEPTH}}}")
"""A key of too many names, which tomllib reads in quadratic time."""


def _toml(text: str) -> Any:
    if _MANY_KEYS.search(text):
        raise ValueError("it has too many levels")
    return tomllib.loads(text)


def _xml(text: str) -> Any:
    if re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError("it declares a document type")
    root = ElementTree.fromstring(text.strip())
    return {root.tag: _element(root, MAX_DEPTH)}


def _element(element: ElementTree.Element, depth: int) -> Any:
    if depth == 0:
        raise ValueError("too many levels")
    found: dict[str, Any] = {f"@{name}": value for name, value in element.attrib.items()}
    for child in element:
        value = _element(child, depth - 1)
        if child.tag not in found:
            found[child.tag] = value
        elif isinstance(found[child.tag], list):
            found[child.tag].append(value)
        else:
            found[child.tag] = [found[child.tag], value]
    text = (element.text or "").strip()
    if not found:
        return text
    return {**found, "#text": text} if text else found


def _csv(text: str) -> Any:
    header, *rows = csv.reader(io.StringIO(text.strip(), newline=""), strict=True)
    names = [name.strip() for name in header]
    if not rows or not all(names) or len(set(names)) < len(names):
        raise ValueError("it needs a header of different names, and a row")
    if any(len(row) != len(names) for row in rows):
        raise ValueError("a row has more or fewer fields than the header")
    return [dict(zip(names, row, strict=True)) for row in rows]


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "json": _json,
    "yaml": _yaml,
    "toml": _toml,
    "xml": _xml,
    "csv": _csv,
}


def typed(value: Any, schema: Any) -> Any:
    """Return a value of XML or CSV, whose leaves are texts, with the types that a schema names where they fit."""
    if not isinstance(schema, Mapping):
        return value
    wanted = schema.get("type")
    if wanted == "array":
        items = value if isinstance(value, list) else [] if value == "" else [value]
        return [typed(item, schema.get("items")) for item in items]
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        return {name: typed(item, known.get(name)) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    if wanted == "boolean" and value in ("true", "false"):
        return value == "true"
    if wanted == "integer" and re.fullmatch(r"[+-]?\d{1,300}", value):
        return int(value)
    if wanted == "number" and re.fullmatch(r"[+-]?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?", value):
        return float(value)
    return None if wanted == "null" and not value else value
