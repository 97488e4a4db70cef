"""Run test functions and classes as pytest and unittest would, in a checker. Tests find it as ``__runners__``.

It needs only the standard library, and the modules that the tests import.
"""

import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

from guerdon_sandbox.inside.blame import UnsupportedTestError


def run_function(function: Callable[..., Any], *given: Any) -> None:
    """Run a test function, once for each set of its parameters.

    Args:
        function: Sync or async, with or without ``pytest.mark.parametrize``.
        given: The values of its first parameters, instead of fixtures.
    """
    marks = list(getattr(function, "pytestmark", []))
    for mark in marks:
        if mark.name in ("skip", "skipif", "xfail"):
            raise UnsupportedTestError(f"the test is marked {mark.name}")
    sets = [list(_parameters(mark)) for mark in marks if mark.name == "parametrize"]
    for chosen in itertools.product(*sets):
        arguments = {name: value for part in chosen for name, value in part.items()}
        _refuse_fixtures(function, given, arguments)
        _finish(function(*given, **arguments))


def run_method(kind: type, name: str) -> None:
    """Run a method of a plain test class on a new instance."""
    import inspect

    instance = kind()
    for hook in ("setup_class", "setup_method"):
        if hasattr(instance, hook):
            setup = getattr(instance, hook)
            setup(getattr(instance, name)) if len(inspect.signature(setup).parameters) else setup()
    run_function(getattr(instance, name))


def run_case(kind: Any, name: str) -> None:
    """Run a method of a ``unittest.TestCase``, with its fixtures. Its exceptions are raised here."""
    case = kind(name)
    method = getattr(case, name)
    if getattr(kind, "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False):
        raise UnsupportedTestError("the test skips itself")
    if getattr(kind, "__unittest_expecting_failure__", False) or getattr(
        method, "__unittest_expecting_failure__", False
    ):
        raise UnsupportedTestError("the test is expected to fail")
    import unittest

    unittest.TestSuite([case]).debug()


def _finish(result: Any) -> None:
    if isinstance(result, types.CoroutineType):
        import asyncio

        asyncio.run(result)


def _parameters(mark: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each run of a ``parametrize`` mark."""
    names, values = (*mark.args, *mark.kwargs.values())[:2]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for value in values:
        parts = list(getattr(value, "values", None) or [value]) if hasattr(value, "marks") else None
        if parts is None:
            parts = [value] if len(names) == 1 else list(value)
        yield dict(zip(names, parts, strict=True))


def _refuse_fixtures(function: Callable[..., Any], given: tuple[Any, ...], arguments: dict[str, Any]) -> None:
    import inspect

    parameters = list(inspect.signature(function).parameters.values())[len(given) :]
    for parameter in parameters:
        if parameter.name not in arguments and parameter.default is parameter.empty:
            raise UnsupportedTestError(f"the test needs the fixture '{parameter.name}'")
