"""Tests that are Python code: which names stand for the candidate's, and which asserts can be judged on the host.

``assert f(2) == 4`` with literals is a call with a known result, so only the call needs to run in the box. What has
another form runs as it stands in a checker's process there.
"""

from __future__ import annotations

import ast
import builtins
import operator
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from guerdon_sandbox import Call

_BUILTINS = frozenset(dir(builtins)) | {"__name__"}


@dataclass(frozen=True, slots=True)
class AssertTests:
    """Tests that call the candidate's functions by name."""

    sources: tuple[str, ...]
    """Each is one test: it passes if it raises nothing."""
    names: tuple[str, ...]
    """The names that stand for the candidate's functions and classes."""
    prelude: str = ""
    """The problem's own code, which ends in the head of the function that is asked for."""
    setup: str = ""
    """What the tests need on their side: imports, helpers."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A call of the candidate, and whether its result is right."""

    call: Call
    holds: Callable[[Any], bool]
    text: str
    """The assert as it stood in the test."""


def list_tests(sources: list[str], setup: str = "") -> AssertTests:
    """MBPP's shape: asserts that call functions which nothing but the candidate can define."""
    free = _free_names("\n".join([setup, *sources]))
    modules = sorted(free & sys.stdlib_module_names)
    imports = "".join(f"import {name}\n" for name in modules)
    return AssertTests(tuple(sources), tuple(sorted(free.difference(modules))), setup=imports + setup)


def humaneval_tests(test: str, entry_point: str, prelude: str) -> AssertTests:
    """HumanEval's shape: a function ``check(candidate)``, which is called with the entry point."""
    call = f"\ncheck({entry_point})\n" if "check" in _bound_names(test) else ""
    modules = sorted((_free_names(test) - _bound_names(prelude)) & sys.stdlib_module_names)
    imports = "".join(f"import {name}\n" for name in modules)
    return AssertTests((test + call,), (entry_point,), prelude, imports)


def missing_names(tests: AssertTests) -> list[str]:
    """Names that the tests use and nobody defines. A test that fails for want of them says nothing of the candidate."""
    defined = _bound_names("\n".join([tests.prelude, tests.setup, *tests.sources]))
    return sorted(_free_names("\n".join(tests.sources)) - defined - set(tests.names))


@lru_cache(maxsize=256)
def expectations(tests: AssertTests) -> Sequence[Expectation] | None:
    """The tests as calls with known results, or None if one of them is more than that."""
    if tests.setup and tests.setup.strip().splitlines() != [
        line for line in tests.setup.strip().splitlines() if line.startswith(("import ", "from "))
    ]:
        return None
    found: list[Expectation] = []
    for source in tests.sources:
        for statement in _statements(ast.parse(source), tests.names[0]):
            if _expects_nothing(statement):
                continue
            expectation = _expectation(statement, tests.names)
            if expectation is None:
                return None
            found.append(expectation)
    return found or None


def _statements(module: ast.Module, entry_point: str) -> list[ast.stmt]:
    """A test's statements, with ``check(candidate)`` taken apart."""
    checks = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if len(checks) != 1 or len(checks[0].args.args) != 1:
        return module.body
    parameter = checks[0].args.args[0].arg
    for node in ast.walk(checks[0]):
        if isinstance(node, ast.Name) and node.id == parameter:
            node.id = entry_point
    rest = [node for node in module.body if node is not checks[0] and not _is_call_of_check(node)]
    return [*(node for node in rest if not _is_metadata(node)), *checks[0].body]


def _is_call_of_check(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "check"
    )


def _is_metadata(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "METADATA"
    )


def _expects_nothing(statement: ast.stmt) -> bool:
    """Whether the statement is a docstring, or an assert of a true constant."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assert(test=ast.Constant(value=value)):
            return bool(value)
    return False


def _expectation(statement: ast.stmt, names: Sequence[str]) -> Expectation | None:
    """What the statement expects, or None if it is more than a call with a known result."""
    if not isinstance(statement, ast.Assert) or (parsed := _comparison(statement.test)) is None:
        return None
    called, holds = parsed
    call = _call(called, names)
    return None if call is None else Expectation(call, holds, ast.unparse(statement.test))


def _comparison(test: ast.expr) -> tuple[ast.expr, Callable[[Any], bool]] | None:
    """The call in a condition, and the condition as a function of the call's result."""
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            if (value := _literal(right)) is not None:
                return left, partial(operator.eq, value.it)
            if (value := _literal(left)) is not None:
                return right, partial(operator.eq, value.it)
        case ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=wanted)]) if (
            wanted is None or isinstance(wanted, bool)
        ):
            return left, lambda result: result is wanted
        case ast.Compare(
            left=ast.Call(
                func=ast.Name(id="abs"), args=[ast.BinOp(left=left, op=ast.Sub(), right=right)], keywords=[]
            ),
            ops=[ast.Lt() | ast.LtE() as within],
            comparators=[bound],
        ):
            middle, width = _literal(right), _literal(bound)
            if middle is not None and width is not None:
                compare = operator.lt if isinstance(within, ast.Lt) else operator.le
                return left, lambda result: bool(compare(abs(result - middle.it), width.it))
        case ast.UnaryOp(op=ast.Not(), operand=called):
            return called, operator.not_
        case ast.Call():
            return test, bool
    return None


@dataclass(frozen=True, slots=True)
class _Literal:
    it: Any


def _literal(node: ast.expr) -> _Literal | None:
    try:
        return _Literal(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _call(node: ast.expr, names: Sequence[str]) -> Call | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in names:
        return None
    args = [_literal(argument) for argument in node.args]
    kwargs = {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if None in args or None in kwargs.values() or None in kwargs:
        return None
    return Call(
        node.func.id,
        [argument.it for argument in args if argument],
        {str(name): value.it for name, value in kwargs.items() if value},
    )


def _free_names(source: str) -> frozenset[str]:
    """Names that the source reads and neither binds anywhere nor finds among the builtins."""
    tree = _parse(source)
    read = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return frozenset(read - _bound_names(source) - _BUILTINS)


def _bound_names(source: str) -> frozenset[str]:
    bound: set[str] = set()
    for node in ast.walk(_parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
    return frozenset(bound)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])  # reported where the suite is read
