"""Analyse a module of tests: pytest's functions, unittest's classes, ``check(candidate)``, or plain statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guerdon_plugins.verifiers.code.imports import without_imports
from guerdon_plugins.verifiers.code.names import parse


@dataclass(frozen=True, slots=True)
class Discovered:
    """The parts of a module of tests."""

    module: str
    """The source that defines the tests, without statements that run all of them."""
    runs: tuple[str, ...]
    """One statement per test that runs it; empty if the module itself is the test."""
    imported: tuple[str, ...]
    """Names that the module imports from the program under test."""
    star: bool = False
    """Whether it imports all of the program's names."""


def discover(source: str, entry: str | None = None) -> Discovered:
    """Find the tests in a module.

    Args:
        source: The module.
        entry: The expression of the function under test, if the row names it.
    """
    tree, imports = without_imports(parse(source))
    kept = [node for node in tree.body if not isinstance(node, ast.Pass) and not _is_run_of_all(node)]
    unchanged = len(kept) == len(tree.body) and not imports.found
    module = source if unchanged else "\n".join(map(ast.unparse, kept))
    called = _called_at_top(kept)
    runs: list[str] = []
    classes = {node.name: node for node in kept if isinstance(node, ast.ClassDef)}
    for node in kept:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            runs += _run_of_function(node, entry, called)
        elif isinstance(node, ast.ClassDef):
            runs += _runs_of_class(node, classes)
    return Discovered(module, tuple(runs), tuple(dict.fromkeys(imports.names)), imports.star)


def _run_of_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, entry: str | None, called: frozenset[str]
) -> list[str]:
    if (
        node.name in called
        or _is_skipped(node)
        or any("fixture" in ast.unparse(one) for one in node.decorator_list)
    ):
        return []
    positional = [*node.args.posonlyargs, *node.args.args]
    required = positional[: len(positional) - len(node.args.defaults)]
    takes_candidate = len(required) == 1 and (node.name == "check" or required[0].arg == "candidate")
    if takes_candidate and entry is not None:
        return [f"__runners__.run_function({node.name}, {entry})"]
    if node.name.startswith("test") or (node.name == "check" and not positional):
        return [f"__runners__.run_function({node.name})"]
    return []


def _is_skipped(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Return whether a mark skips a test, whatever the program does."""
    return any(ast.unparse(one).partition("(")[0].rpartition(".")[2] == "skip" for one in node.decorator_list)


def _runs_of_class(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[str]:
    if _is_skipped(node):
        return []
    methods = list(dict.fromkeys(_test_methods(node, classes)))
    if _is_case(node, classes):
        return [f"__runners__.run_case({node.name}, {name!r})" for name in methods]
    if node.name.startswith("Test"):
        return [f"__runners__.run_method({node.name}, {name!r})" for name in methods]
    return []


def _test_methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    for base in _base_names(node):
        if base in classes and classes[base] is not node:
            yield from _test_methods(classes[base], {k: v for k, v in classes.items() if k != base})
    for member in node.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) or not member.name.startswith(
            "test"
        ):
            continue
        if not _is_skipped(member):
            yield member.name


def _is_case(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    rest = {name: one for name, one in classes.items() if name != node.name}
    return any(
        base.endswith("TestCase") or (base in rest and _is_case(rest[base], rest))
        for base in _base_names(node)
    )


def _base_names(node: ast.ClassDef) -> list[str]:
    return [
        base.attr if isinstance(base, ast.Attribute) else base.id
        for base in node.bases
        if isinstance(base, ast.Attribute | ast.Name)
    ]


def _is_run_of_all(node: ast.stmt) -> bool:
    """Return whether a statement only runs all tests, such as ``unittest.main()``, also in a main guard."""
    if isinstance(node, ast.If) and _is_main_guard(node.test):
        return all(map(_is_run_of_all, node.body))
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    inner = [node.value, *(one for one in node.value.args if isinstance(one, ast.Call))]
    return any(ast.unparse(call.func) in ("unittest.main", "pytest.main", "main") for call in inner)


def _is_main_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _called_at_top(body: Sequence[ast.stmt]) -> frozenset[str]:
    """Return the functions that the module itself calls."""
    statements = [
        node for node in body if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    return frozenset(
        node.func.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
