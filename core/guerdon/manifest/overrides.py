"""The changes to a manifest that the command line gives: ``--set path=value``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from guerdon.errors import ManifestError
from guerdon.manifest.problems import Location
from guerdon.plugins.spelling import did_you_mean

__all__ = ["apply_override", "quoting_fix"]


def quoting_fix(option: str, text: str) -> str:
    """Return how to write an option whose value is text that is not YAML.

    Args:
        option: The option as given, such as ``--param match.pattern=[A-Z]{3}``.
        text: Its value.
    """
    name = option.removesuffix(text).partition(" ")[2]
    argument = shlex.quote(name + json.dumps(text, ensure_ascii=False))
    return f"If it is text, quote it for YAML and the shell: {argument}."


def apply_override(data: Any, override: str) -> Location:
    """Change the data. Return the location of the change.

    Raises:
        ManifestError: It is not a change, or the data has no such place.
    """
    target, equals, text = override.partition("=")
    if not equals or not target:
        raise ManifestError(f"--set {override}: is not of the form path=value, such as seed=1.")
    try:
        value = YAML(typ="safe").load(text)
    except (YAMLError, ValueError):  # a number of thousands of digits is a ValueError
        option = f"--set {override}"
        raise ManifestError(f"{option}: the value is not valid YAML. {quoting_fix(option, text)}") from None
    *parents, last = target.split(".")
    node: Any = data
    location: list[str | int] = []
    for depth, part in enumerate(parents):
        key = _key(node, part)
        if key is None and isinstance(node, dict):
            node[part] = {}
            key = part
        if key is None:
            raise ManifestError(f"--set {override}: {_no_item(node, parents[:depth], part)}")
        node = node[key]
        location.append(key)
        if not isinstance(node, dict | list):
            raise ManifestError(f"--set {override}: {'.'.join(parents[: depth + 1])} has nothing to set.")
    key = last if isinstance(node, dict) else _key(node, last)
    if key is None:
        raise ManifestError(f"--set {override}: {_no_item(node, parents, last)}")
    node[key] = value
    return (*location, key)


def _key(node: Any, part: str) -> Any:
    """Return the key or index that a path component names. List items also match by ``id``, ``name`` or ``use``."""
    if isinstance(node, dict):
        return part if part in node else None
    for index, item in enumerate(node):
        if str(index) == part or (
            isinstance(item, dict) and part in (item.get("id"), item.get("name"), item.get("use"))
        ):
            return index
    return None


def _no_item(items: Sequence[Any], path: Sequence[str], part: str) -> str:
    names = [
        str(next((item[key] for key in ("id", "name", "use") if key in item), index))
        if isinstance(item, dict)
        else str(index)
        for index, item in enumerate(items)
    ]
    return f"{'.'.join(path)} has no item '{part}'.{did_you_mean(part, names)} Items: {', '.join(names) or 'none'}."
