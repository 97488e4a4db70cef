"""The table of constraints: an id, such as ``keywords:existence``, and the function that checks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Check: TypeAlias = Callable[..., bool]
"""Takes a response and the constraint's arguments, and returns whether the response follows it."""

CONSTRAINTS: dict[str, Check] = {}


def constraint(name: str) -> Callable[[Check], Check]:
    """Return a decorator that adds a check to the table."""

    def add(check: Check) -> Check:
        CONSTRAINTS[name] = check
        return check

    return add


def bound(name: str, arguments: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return the check of a constraint with its arguments. Data sets write ``null`` for arguments of other constraints.

    Raises:
        ValueError: There is no such constraint, or the arguments do not fit it.
    """
    check = CONSTRAINTS.get(name)
    if check is None:
        raise ValueError(f"there is no constraint {name!r:.80}")
    given = {key: value for key, value in arguments.items() if value is not None}
    parameters = list(inspect.signature(check).parameters.values())[1:]
    for parameter in parameters:
        if parameter.name not in given and parameter.default is parameter.empty:
            raise ValueError(f"{name} needs the argument {parameter.name!r}")
    chosen = {
        parameter.name: _typed(name, parameter, given) for parameter in parameters if parameter.name in given
    }
    unknown = sorted(given.keys() - chosen.keys())
    if unknown:
        raise ValueError(f"{name} has no argument {unknown[0]!r}")
    return lambda response: check(response, **chosen)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, int) or (isinstance(value, float) and value.is_integer()),
    "float": lambda value: isinstance(value, int | float),
    "str": lambda value: isinstance(value, str) and bool(value.strip()),
    "list[str]": lambda value: (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(item, str) and item.strip() for item in value)
    ),
}


def _typed(name: str, parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    value = given[parameter.name]
    if isinstance(value, bool) or not _TYPES[parameter.annotation](value):
        raise ValueError(
            f"{name}: {parameter.name} is {value!r:.60}; give a value of type {parameter.annotation}"
        )
    return int(value) if parameter.annotation == "int" else value


def holds(count: float, relation: str, limit: float) -> bool:
    """Return whether a count has a relation to a limit.

    Raises:
        ValueError: There is no such relation.
    """
    relations = {
        "less than": count < limit,
        "at least": count >= limit,
        "at most": count <= limit,
        "more than": count > limit,
        "exactly": count == limit,
    }
    if relation not in relations:
        raise ValueError(f"the relation is {relation!r:.40}; give one of {', '.join(relations)}")
    return relations[relation]
