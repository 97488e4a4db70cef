"""Read the constraints of a row, in the shapes of IFEval, IFBench and the data sets for training."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.data.references import plain

MAX_CONSTRAINTS = 64


def read(reference: Any, ids: Any, arguments: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the ids of a row's constraints, each with its arguments.

    Args:
        reference: A list of ``{"id": ..., **arguments}``; a mapping with ``instruction_id_list`` or
            ``instruction_id``, and ``kwargs``, or a list of one; or one of these as JSON or as a Python literal.
        ids: IFEval's column ``instruction_id_list``, used instead of a reference.
        arguments: IFEval's column ``kwargs``.

    Raises:
        ValueError: They cannot be read.
    """
    value = _parsed(plain(reference))
    if ids is not None:
        value = {"instruction_id_list": plain(ids), "kwargs": plain(arguments)}
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            f"the reference is {value!r:.60}; give a list of constraints, each with its 'id' and arguments"
        )
    found = [pair for item in value for pair in _pairs(item)]
    if not found or len(found) > MAX_CONSTRAINTS:
        raise ValueError(f"the reference has {len(found)} constraints; give 1 to {MAX_CONSTRAINTS}")
    return found


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return value


def _pairs(item: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(item, str):
        return [(item, {})]
    if not isinstance(item, Mapping):
        raise ValueError(f"a constraint is {item!r:.60}; give a mapping with 'id' and the arguments")
    if "id" in item:
        return [(str(item["id"]), {name: value for name, value in item.items() if name != "id"})]
    ids = _parsed(item.get("instruction_id_list", item.get("instruction_id")))
    arguments = _parsed(item.get("kwargs"))
    names = [ids] if isinstance(ids, str) else ids
    if not isinstance(names, Sequence):
        raise ValueError(
            f"a constraint has the keys {', '.join(map(str, item)) or 'none'}; give 'id' and the arguments"
        )
    given = [{}] * len(names) if arguments is None else arguments
    if not isinstance(given, Sequence) or len(given) != len(names):
        raise ValueError(f"there are {len(names)} ids, and 'kwargs' does not have as many items")
    for one in given:
        if one is not None and not isinstance(one, Mapping):
            raise ValueError(f"kwargs holds {one!r:.60}; give a mapping for each id")
    return [(str(name), one or {}) for name, one in zip(names, given, strict=True)]
