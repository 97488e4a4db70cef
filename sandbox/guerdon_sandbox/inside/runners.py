"""Run test functions and classes as pytest and unittest would, in a checker. Tests find it as ``__runners__``.

It needs only the standard library, and the modules that the tests import.
"""

import contextlib
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from guerdon_sandbox.inside.blame import UnsupportedTestError
from guerdon_sandbox.inside.remote import kind_of as kind_of  # of the tests
from guerdon_sandbox.inside.remote import same as same


def run_function(function: Callable[..., Any], *given: Any) -> None:
    """Run a test function, once for each set of its parameters.

    Args:
        function: Sync or async, with or without ``pytest.mark.parametrize``.
        given: The values of its first parameters, instead of fixtures.
    """
    marks = _marks(function)
    for mark in marks:
        if mark.name in ("skip", "xfail") or (mark.name == "skipif" and any(mark.args)):
            raise UnsupportedTestError(f"the test is marked {mark.name}")
    sets = [list(_parameters(mark)) for mark in marks if mark.name == "parametrize"]
    for chosen in itertools.product(*sets):
        arguments = {name: value for part in chosen for name, value in part.items()}
        with contextlib.ExitStack() as after:
            fixtures = _Fixtures(function, after)
            fixtures.run_automatic()
            _finish(function(*given, **fixtures.complete(function, given, arguments)))


def _marks(function: Callable[..., Any]) -> list[Any]:
    """Return the marks of a test, its class and its module."""
    instance, names = getattr(function, "__self__", None), getattr(function, "__globals__", {})
    owners = [
        names.get("pytestmark", []),
        getattr(type(instance), "pytestmark", []),
        getattr(function, "pytestmark", []),
    ]
    return [mark for found in owners for mark in (found if isinstance(found, list) else [found])]


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

    case.assertIs = functools.partial(_assert_same, case, True)
    case.assertIsNot = functools.partial(_assert_same, case, False)
    unittest.TestSuite([case]).debug()


def _assert_same(case: Any, wanted: bool, one: object, other: object, msg: object = None) -> None:
    if same(one, other) is not wanted:
        case.fail(msg or f"{one!r} is {'not ' if wanted else ''}{other!r}")


def sized(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a comparison of numpy that holds only if both sides are empty, or neither is. Others are returned."""
    if not str(getattr(function, "__module__", "")).startswith("numpy"):
        return function

    @functools.wraps(function)
    def compare(*args: Any, **kwargs: Any) -> Any:
        empty = [not sys.modules["numpy"].size(one) for one in args[:2]]
        if any(empty) and not all(empty):
            raise AssertionError("an empty array is compared with a value")
        return function(*args, **kwargs)

    return compare


def _finish(result: Any) -> None:
    if isinstance(result, types.CoroutineType):
        import asyncio

        asyncio.run(result)


def _parameters(mark: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each run of a ``parametrize`` mark."""
    given = dict(zip(("argnames", "argvalues", "indirect"), mark.args, strict=False)) | mark.kwargs
    if given.get("indirect"):
        raise UnsupportedTestError("the test gives parameters to fixtures")
    names, values = given["argnames"], given["argvalues"]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for value in values:
        parts = list(getattr(value, "values", None) or [value]) if hasattr(value, "marks") else None
        if parts is None:
            parts = [value] if len(names) == 1 else list(value)
        yield dict(zip(names, parts, strict=True))


class _Fixtures:
    """The fixtures of pytest that a test's module and class define."""

    def __init__(self, function: Callable[..., Any], after: contextlib.ExitStack) -> None:
        self._after = after
        self._values: dict[str, Any] = {}
        instance = getattr(function, "__self__", None)
        names = getattr(function, "__globals__", {})
        self._found = {**_fixtures(names, None), **_fixtures(_members(instance), instance)}

    def run_automatic(self) -> None:
        for name, (mark, _) in self._found.items():
            if mark.autouse:
                self._value(name)

    def complete(
        self, function: Callable[..., Any], given: tuple[Any, ...], arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments with those that fixtures give."""
        import inspect

        parameters = list(inspect.signature(function).parameters.values())[len(given) :]
        needed = [one.name for one in parameters if one.default is one.empty and one.name not in arguments]
        return {**arguments, **{name: self._value(name) for name in needed}}

    def _value(self, name: str) -> Any:
        if name not in self._values:
            mark, function = self._found.get(name, (None, None))
            if mark is None or function is None or mark.params:
                raise UnsupportedTestError(f"the test needs the fixture '{name}'")
            value = function(**self.complete(function, (), {}))
            if isinstance(value, types.GeneratorType):
                generator, value = value, next(value)
                self._after.callback(next, generator, None)
            self._values[name] = value
        return self._values[name]


def _members(instance: object) -> dict[str, Any]:
    return {name: one for kind in reversed(type(instance).__mro__) for name, one in vars(kind).items()}


def _fixtures(names: dict[str, Any], instance: object) -> dict[str, tuple[Any, Callable[..., Any]]]:
    """Return the marks and functions of the fixtures among some names."""
    found = {}
    for bound, one in names.items():
        if not isinstance(one, types.FunctionType) and type(one).__name__ != "FixtureFunctionDefinition":
            continue  # such as an object of the candidate, which would be asked
        mark = getattr(one, "_pytestfixturefunction", None) or getattr(one, "_fixture_function_marker", None)
        if mark is not None:
            wrapped = getattr(one, "__pytest_wrapped__", None)
            function = one._get_wrapped_function() if wrapped is None else wrapped.obj
            found[mark.name or bound] = (mark, function if instance is None else function.__get__(instance))
    return found
