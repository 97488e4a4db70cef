"""Read what a tool tells the model: the name, the parameters and the docstring of a function or a method."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

_Parameter = inspect.Parameter

EARLIER_CALLS = "earlier_calls"
"""The parameter of a tool that gets the arguments of the rollout's earlier calls of it that worked.

The model does not see it.
"""


def stub(name: str, function: Callable[..., Any], *, method: bool) -> Callable[..., Any]:
    """Return a function with another's name, signature and docstring, from which transformers makes a JSON schema.

    Args:
        name: The name that the model sees.
        function: A function, or a class's method.
        method: Whether its first parameter is ``self``.
    """

    @functools.wraps(function)
    def described(**arguments: Any) -> Any:
        raise NotImplementedError(f"the tool '{name}' runs in a process of the toolbox")

    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    parameters = [parameter for parameter in parameters if parameter.name != EARLIER_CALLS]
    described.__name__ = described.__qualname__ = name
    described.__annotations__ = {
        name: hint for name, hint in function.__annotations__.items() if name != EARLIER_CALLS
    }
    described.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return described


def remembers(loaded: Any) -> bool:
    """Return whether a tool asks for the rollout's earlier calls of it."""
    called = loaded if inspect.isroutine(loaded) else loaded.__call__
    return EARLIER_CALLS in inspect.signature(called).parameters


def tool_stub(name: str, loaded: Any) -> Callable[..., Any]:
    """Return a tool's stub. A class is called through its instances."""
    if inspect.isclass(loaded):
        return stub(name, loaded.__call__, method=True)
    return stub(name, loaded if inspect.isroutine(loaded) else loaded.__call__, method=False)


def environment_stubs(loaded: type, hidden: frozenset[str]) -> dict[str, Callable[..., Any]]:
    """Return the stubs of an environment's tools: its public methods, as TRL finds them.

    Args:
        loaded: The environment's class.
        hidden: The names of methods that the model cannot call.
    """
    return {
        name: stub(name, method, method=not isinstance(inspect.getattr_static(loaded, name), staticmethod))
        for name, method in inspect.getmembers(loaded, inspect.isfunction)
        if not name.startswith("_") and name not in hidden
    }


def undescribed(described: Callable[..., Any]) -> Iterator[str]:
    """Yield what a model, or the template that shows the tool to it, would lack, as predicates."""
    doc = inspect.getdoc(described) or ""
    written = inspect.unwrap(described)
    if inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written):
        yield "is a generator, which has no text for the model. Return the text instead of 'yield'."
    if not doc.strip():
        yield "has no docstring. The model reads it: say what the tool does, and describe each parameter under 'Args:'."
    yield from _unreadable_hints(described)
    for parameter in inspect.signature(described).parameters.values():
        if parameter.kind in (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD, _Parameter.POSITIONAL_ONLY):
            yield f"takes '{parameter}'. Name each parameter: the model passes its arguments by name."
            continue
        if parameter.annotation is parameter.empty:
            yield f"has no type hint for '{parameter.name}'. The model's JSON schema is made from the hints."
        if doc.strip() and not re.search(rf"^\s+{parameter.name}\s*(\([^)]*\))?:\s*\S", doc, re.MULTILINE):
            yield f"does not describe '{parameter.name}' in its docstring. Add a line under 'Args:'."


def _unreadable_hints(described: Callable[..., Any]) -> Iterator[str]:
    """Yield the type hints of which transformers makes no JSON schema, that of the result included, as predicates."""
    try:
        hints = typing.get_type_hints(described)
    except Exception as error:  # a hint is evaluated, so it may raise anything
        yield (
            f"has a type hint that cannot be evaluated: {error}. Import its names when the module runs, not only for a "
            "type checker."
        )
        return
    for name, hint in hints.items():
        if not _has_schema(hint):
            of = "its result" if name == "return" else f"'{name}'"
            yield (
                f"has the type hint {hint} for {of}, which has no JSON schema. Use str, int, float, bool, list, dict, "
                "tuple, Literal, or a union of these."
            )


def _has_schema(hint: Any) -> bool:
    """Return whether transformers' ``get_json_schema`` (5.17) reads a type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(map(_has_schema, arguments))
    if origin is typing.Literal:
        return all(type(value) in (int, float, str, bool, type(None)) for value in arguments)
    if origin is tuple:
        return len(arguments) != 1 and ... not in arguments and all(map(_has_schema, arguments))
    return origin in (list, dict) and all(map(_has_schema, arguments[-1:]))
