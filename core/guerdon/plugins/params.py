"""Check a component's params against the annotations of its plugin."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from math import isnan
from typing import TYPE_CHECKING, Any

from guerdon.errors import ParamsError
from guerdon.plugins.discovery import Kind
from guerdon.plugins.signatures import FIRST_ARGUMENT, is_open_ended, signature_of, takes_params, valid_params
from guerdon.plugins.spelling import did_you_mean
from guerdon.plugins.wording import reasons_of

if TYPE_CHECKING:
    from guerdon.plugins.component import Component

MAX_LISTED = 25
"""The most params that an error message lists."""


@dataclass(frozen=True, slots=True)
class ParamProblem:
    """One mistake in a component."""

    param: str | None
    """The wrong parameter. ``None`` if a parameter is missing, or if the mistake is not in a parameter."""
    message: str


def find_problems(component: Component, loaded: Any) -> tuple[dict[str, Any], list[ParamProblem]]:
    """Return the params as their annotations read them, and all mistakes in them."""
    known = valid_params(component.kind, loaded)
    builds = takes_params(component.kind, loaded)
    open_ended = is_open_ended(component.kind, loaded)
    checked: dict[str, Any] = {}
    problems: list[ParamProblem] = []
    for name, value in component.params.items():
        if name not in known:
            if open_ended:
                checked[name] = value
                continue
            problems.append(
                ParamProblem(
                    name,
                    f"unknown param '{name}' of {component.plugin}.{did_you_mean(name, known)} {_valid(name, known)}",
                )
            )
            continue
        from pydantic import ValidationError  # late: many workers have no params, and start faster

        if isinstance(value, float) and isnan(value):  # no comparison of a plugin's own check would find it
            problems.append(
                ParamProblem(
                    name, f"param '{name}' of {component.plugin} is {value!r}: give a number, not nan."
                )
            )
            continue
        try:
            checked[name] = _read(known[name].annotation, value)
        except ValidationError as error:
            reason = reasons_of(error.errors())
            choices = [choice for detail in error.errors() for choice in _choices(detail)]
            hint = did_you_mean(value, choices) if isinstance(value, str) else ""
            problems.append(
                ParamProblem(name, f"param '{name}' of {component.plugin} is {value!r}: {reason}.{hint}")
            )
    if builds:  # the parameters of a function that are not params are columns
        problems += [
            ParamProblem(
                None, f"{component.plugin} needs the param '{name}'.{_rename(component.kind, loaded, name)}"
            )
            for name, parameter in known.items()
            if parameter.default is parameter.empty and name not in component.params
        ]
    return checked, problems


def _rename(kind: Kind, loaded: Any, name: str) -> str:
    """Return the hint that a function's first parameter has a name which makes the function a factory."""
    first = FIRST_ARGUMENT.get(kind)
    if (
        first is None
        or not inspect.isroutine(loaded)
        or next(iter(signature_of(loaded).parameters), None) != name
    ):
        return ""
    return f" If the function is the {kind.noun} itself, rename its first argument '{name}' to '{first}'."


def _choices(detail: Any) -> list[str]:
    """Return the allowed values that an error of a choice lists."""
    if detail["type"] != "literal_error":
        return []
    return re.findall(r"'([^']*)'", detail["ctx"]["expected"])


def _valid(name: str, known: Collection[str]) -> str:
    """Return the valid params as text; of very many, the nearest ones."""
    if len(known) <= MAX_LISTED:
        return f"Valid: {', '.join(known) or 'none'}."
    within = [
        option for option in known if f"_{name}_" in f"_{option}_"
    ]  # 'batch_size' of 'per_device_train_batch_size'
    near = list(dict.fromkeys([*within, *get_close_matches(name, known, n=5, cutoff=0.4)]))[:5]
    listed = f"'guerdon plugins show' lists all {len(known)}."
    return f"Near: {', '.join(near)}; {listed}" if near else listed


def check_params(component: Component, loaded: Any) -> dict[str, Any]:
    """Return the params as their annotations read them.

    Raises:
        ParamsError: Some are unknown, missing or ill-typed.
    """
    checked, problems = find_problems(component, loaded)
    if problems:
        raise ParamsError(" ".join(problem.message for problem in problems))
    return checked


def _read(annotation: Any, value: Any) -> Any:
    if annotation is inspect.Parameter.empty or annotation is Any:
        return value
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, NameError, TypeError):
        try:
            adapter = TypeAdapter(annotation)  # a type with a pydantic configuration of its own
        except Exception:  # a type that pydantic does not know is not checked
            return value
    try:
        text = json.dumps(value, allow_nan=True)
    except TypeError:
        return adapter.validate_python(value)
    # JSON's strict mode fits manifests: 1 is a float, ["a"] is a tuple, and "1" is not a number.
    return adapter.validate_json(text, strict=True)
