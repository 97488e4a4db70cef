"""Read tests that are Python code: find the candidate's names, and the asserts that the host can judge.

``assert f(2) == 4`` with literals is a call with a known result, so only the call needs to run in the box. Tests of
another form run unchanged in a checker's process in the box.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from guerdon_plugins.verifiers.code.discovery import Discovered, discover
from guerdon_plugins.verifiers.code.names import bound_names, data_names, free_names, library_imports, parse
from guerdon_sandbox import Call


@dataclass(frozen=True, slots=True)
class AssertTests:
    """Tests that call the candidate's functions by name."""

    sources: tuple[str, ...]
    """The tests. Each passes if it raises nothing."""
    names: tuple[str, ...]
    """The names of the candidate's functions and classes."""
    prelude: str = ""
    """The problem's own code, which ends with the head of the required function."""
    setup: str = ""
    """Code that the tests need in their process: imports, helpers."""
    entry: str = ""
    """The function under test, if the row names it."""
    imported: tuple[str, ...] = ()
    """The names that are certainly the program's, so that its constants are believed."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A call of the candidate, and whether its result is right."""

    call: Call
    holds: Callable[[Any], bool]
    text: str
    """The assert's text in the test."""


def list_tests(sources: Sequence[str], setup: str = "", solution: str = "") -> AssertTests:
    """Read MBPP's shape: tests that use functions which nothing but the candidate can define.

    Args:
        sources: Asserts, or whole modules of tests.
        setup: Code that comes before them.
        solution: A program that passes. Names that it defines are the candidate's.
    """
    parts = [discover(source) for source in sources]
    texts = [setup, *(part.module for part in parts)]
    imported = {name for part in parts for name in part.imported}
    free = free_names("\n".join(texts)) | imported
    if imported and not any(part.star for part in parts):
        free = frozenset(imported)  # the tests say which names are the program's
    star = free if any(part.star for part in parts) else frozenset()
    known = imported | (bound_names(solution) & free) | star
    libraries = library_imports(texts, imported | (bound_names(solution) & free))
    module, tests = _in_units(parts)
    names = free - libraries.keys()
    return AssertTests(
        tuple(tests),
        tuple(sorted(names - data_names("\n".join(texts), names - known))),
        setup="\n".join(filter(None, [*libraries.values(), setup, *module])),
        imported=tuple(sorted(known)),
    )


def row_tests(test: str, entry_point: str, prelude: str) -> AssertTests:
    """Read HumanEval's, BigCodeBench's and LeetCodeDataset's shape: a module of tests with its function under test.

    Args:
        test: A function ``check(candidate)``, or the tests of pytest or unittest.
        entry_point: The function under test, as ``solve`` or ``Solution().solve``.
        prelude: The problem's own code.
    """
    found = discover(test, entry_point)
    names = dict.fromkeys((entry_point.partition("(")[0], *found.imported))
    own = bound_names(prelude)
    libraries = library_imports([found.module], names)
    imports = "\n".join(line for name, line in libraries.items() if name not in own)
    entry = entry_point.rpartition(".")[2]
    if len(found.runs) > 1:
        setup = "\n".join(filter(None, [imports, found.module]))
        return AssertTests(found.runs, tuple(names), prelude, setup, entry, found.imported)
    source = "\n".join([found.module, *found.runs])
    return AssertTests((source,), tuple(names), prelude, imports, entry, found.imported)


def missing_names(tests: AssertTests) -> list[str]:
    """Return names that the tests use and that nothing defines. Every program would fail because of them."""
    text = "\n".join([tests.prelude, tests.setup, *tests.sources])
    return sorted(free_names("\n".join([tests.setup, *tests.sources])) - bound_names(text) - set(tests.names))


def _in_units(parts: Iterable[Discovered]) -> tuple[list[str], list[str]]:
    """Return the code before the tests, and the tests. Code without an assert belongs to the test after it."""
    module: list[str] = []
    tests: list[str] = []
    pending: list[str] = []
    for part in parts:
        if part.runs:
            module.append(part.module)
            tests += part.runs
        elif _asserts(part.module):
            tests.append("\n".join([*pending, part.module]))
            pending = []
        elif part.module.strip():
            pending.append(part.module)
    if pending:
        (module if all(map(_only_defines, pending)) else tests).append("\n".join(pending))
    return module, tests


def _asserts(source: str) -> bool:
    """Return whether a source contains an assert, or calls something that may contain one."""
    return any(
        isinstance(node, ast.Assert | ast.Raise | ast.With)
        or (isinstance(node, ast.Call) and "assert" in ast.unparse(node.func).lower())
        for node in ast.walk(parse(source))
    )


def _only_defines(source: str) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return all(isinstance(node, kinds) for node in parse(source).body)


@lru_cache(maxsize=256)
def expectations(tests: AssertTests) -> Sequence[Expectation] | None:
    """Return the tests as calls with known results, or None if one of them is more than that."""
    if tests.setup and tests.setup.strip().splitlines() != [
        line for line in tests.setup.strip().splitlines() if line.startswith(("import ", "from "))
    ]:
        return None
    found: list[Expectation] = []
    for source in tests.sources:
        for statement in _statements(ast.parse(source), tests.entry):
            if _expects_nothing(statement):
                continue
            expectation = _expectation(statement, (*tests.names, tests.entry))
            if expectation is None:
                return None
            found.append(expectation)
    return found or None


def _statements(module: ast.Module, entry: str) -> list[ast.stmt]:
    """Return a test's statements. The function that runs with the entry point is split into its statements."""
    run = module.body[-1] if module.body else None
    name = _run_with_entry(run) if run is not None else None
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if len(functions) != 1 or len(functions[0].args.args) != 1 or functions[0].decorator_list:
        return module.body
    (function,) = functions
    parameter = function.args.args[0].arg
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id == parameter:
            node.id = entry
    rest = [node for node in module.body if node not in (function, run)]
    return [*(node for node in rest if not _is_metadata(node)), *function.body]


def _run_with_entry(node: ast.stmt) -> str | None:
    """Return the function that a statement of `discover` runs with the entry point."""
    match node:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id="__runners__"), attr="run_function"),
                args=[ast.Name(id=name), _],
            )
        ):
            return name
    return None


def _is_metadata(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "METADATA"
    )


def _expects_nothing(statement: ast.stmt) -> bool:
    """Return whether the statement is a docstring, or an assert of a true constant."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assert(test=ast.Constant(value=value)):
            return bool(value)
    return False


def _expectation(statement: ast.stmt, names: Sequence[str]) -> Expectation | None:
    """Return the statement's expectation, or None if it is more than a call with a known result."""
    if not isinstance(statement, ast.Assert) or (parsed := _comparison(statement.test)) is None:
        return None
    called, holds = parsed
    call = _call(called, names)
    return None if call is None else Expectation(call, holds, ast.unparse(statement.test))


def _comparison(test: ast.expr) -> tuple[ast.expr, Callable[[Any], bool]] | None:
    """Return the call in a condition, and the condition as a function of the call's result."""
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
