"""Read facts that a checker needs from the syntax of Python tests before it runs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guerdon_plugins.verifiers.code.names import parse

_OF_ANOTHER_PROCESS = frozenset(
    (
        *("redirect_stdout", "redirect_stderr", "capsys", "capfd", "caplog", "monkeypatch", "patch"),
        *("getsource", "signature", "getfullargspec", "asdict", "astuple", "is_dataclass"),
        *(
            "warns",
            "deprecated_call",
            "catch_warnings",
            "assertWarns",
            "assertWarnsRegex",
            "assertLogs",
            "assertNoLogs",
        ),
    )
)
"""Names with which tests inspect or change their process, which is not the candidate's."""
_CATCHERS = frozenset({"raises", "assertRaises", "assertRaisesRegex"})
_MAX_STAND_INS = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """How a checker must treat a suite's tests."""

    classes: tuple[str, ...]
    """The candidate's names that the tests use as classes."""
    exceptions: tuple[str, ...]
    """The candidate's names that the tests catch."""
    in_place: tuple[int, ...]
    """The tests that check what a call does to its arguments."""
    values: tuple[str, ...]
    """The names that the tests import and neither call nor catch, so that they may be plain values."""
    stand_ins: tuple[str, ...]
    """Literals that tests compare with by ``!=`` and similar. A program that only returns one of them may pass."""


def read_facts(
    sources: Sequence[str], setup: str, names: Sequence[str], imported: Sequence[str] = ()
) -> Facts:
    """Read the facts of a suite. Only imported names can be values: a test's own data is not the candidate's."""
    trees = [parse(setup), *map(parse, sources)]
    everything = ast.Module(body=[node for tree in trees for node in tree.body], type_ignores=[])
    setup_body = trees[0].body
    caught = _caught(everything) & set(names)
    return Facts(
        classes=tuple(name for name in names if name[:1].isupper() and name != "Solution"),
        exceptions=tuple(sorted(caught)),
        values=tuple(sorted({*names} & {*imported} - caught - _called(everything))),
        in_place=tuple(
            index
            for index, tree in enumerate(trees[1:])
            if _is_in_place(ast.Module(body=[*setup_body, *tree.body], type_ignores=[]), names)
        ),
        stand_ins=tuple(dict.fromkeys(_excluded(everything)))[:_MAX_STAND_INS],
    )


def why_unsupported(source: str, names: Sequence[str]) -> str | None:
    """Return why tests cannot run in a second process, or assert nothing, or None if they can run."""
    for node in ast.walk(parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) if (
                name in _OF_ANOTHER_PROCESS
            ):
                return f"the tests use '{name}', which does not reach the program's own process"
            case ast.Attribute(
                value=ast.Name(id="sys"), attr="stdin" | "stdout" | "stderr" | "argv" as name, ctx=ast.Store()
            ):
                return f"the tests replace 'sys.{name}', which does not reach the program's own process"
            case ast.Attribute(value=ast.Name(id="builtins"), attr=name, ctx=ast.Store()):
                return f"the tests replace 'builtins.{name}', which does not reach the program's own process"
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in names and name.startswith(
                "__"
            ):
                return f"the tests read '{owner}.{name}', which does not cross processes"
            case ast.Expr(value=value) if _is_comparison(value):
                return f"the tests compare without an assert: {ast.unparse(value)[:100]}"
    return None


def _is_comparison(value: ast.expr) -> bool:
    match value:
        case ast.Compare():
            return True
        case ast.BoolOp(values=parts):
            return any(map(_is_comparison, parts))
        case ast.UnaryOp(op=ast.Not()):
            return True
    return False


def _caught(tree: ast.Module) -> set[str]:
    caught: set[str] = set()
    for node in ast.walk(tree):
        kinds: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            kinds = [node.type]
        elif isinstance(node, ast.Call) and _last_name(node.func) in _CATCHERS:
            kinds = node.args[:1]
        for kind in kinds:
            caught |= {_last_name(one) for one in ast.walk(kind) if isinstance(one, ast.Name | ast.Attribute)}
    for targets, value in _assignments(tree):
        if targets & caught:
            caught.add(_last_name(value))
    return caught


def _called(tree: ast.AST) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _excluded(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotEq | ast.NotIn | ast.IsNot):
            for side in (node.left, *node.comparators):
                inner = side.elts if isinstance(side, ast.List | ast.Tuple | ast.Set) else [side]
                yield from (ast.unparse(one) for one in inner if _is_literal(one))
        elif isinstance(node, ast.Call) and _last_name(node.func) in ("assertNotEqual", "assertNotIn"):
            yield from (ast.unparse(one) for one in node.args if _is_literal(one))


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


# --- in place --------------------------------------------------------------------------------------------------------


def _is_in_place(tree: ast.Module, names: Sequence[str]) -> bool:
    """Return whether the tests read the arguments after calls, and never compare a result with an argument.

    ``assert f(xs) == sum(xs)`` expects something of the argument, so a candidate that changes it chooses the expected
    value. In ``f(xs); assert xs == [1]`` the argument itself is judged.
    """
    calls = _Calls(tree, names)
    looks = False
    for left, right in _compared(tree):
        for side, other in ((left, right), (right, left)):
            if calls.reads_argument(side):
                if calls.reads_result(other) or calls.mixes(side):
                    return False
                looks = True
    return looks


class _Calls:
    """Finds expressions that hold results of the candidate, and expressions that hold its arguments."""

    def __init__(self, tree: ast.Module, names: Sequence[str]) -> None:
        self._functions = {*names, "candidate"}
        self._results: set[str] = set()
        self._arguments: set[str] = set()
        self._add_helpers(tree)
        assigned = list(_assignments(tree))
        for targets, value in assigned:
            if isinstance(value, ast.Name) and value.id in self._functions:
                self._functions |= targets
        # Each round resolves one more level of assignments.
        for _ in range(4):
            for targets, value in assigned:
                if self.reads_result(value):
                    self._results |= targets
            for node in ast.walk(tree):
                if self._is_call(node):
                    self._arguments |= set(self._passed(node))
            for targets, value in assigned:
                if self.reads_argument(value) and not self.reads_result(value):
                    self._arguments |= targets

    def _add_helpers(self, tree: ast.Module) -> None:
        """Count functions of the tests that call the candidate, and return what it gives, as the candidate's."""
        functions = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for _ in range(4):
            for function in functions:
                returned = [one for one in ast.walk(function) if isinstance(one, ast.Return | ast.Yield)]
                if returned and any(map(self._is_call, ast.walk(function))):
                    self._functions.add(function.name)

    def reads_result(self, node: ast.AST) -> bool:
        return any(
            self._is_call(one) or (isinstance(one, ast.Name) and one.id in self._results)
            for one in ast.walk(node)
        )

    def reads_argument(self, node: ast.AST) -> bool:
        """Return whether an expression reads an argument outside the call that it is passed to."""
        if self._is_call(node):
            return False
        if isinstance(node, ast.Name):
            return node.id in self._arguments
        return any(map(self.reads_argument, ast.iter_child_nodes(node)))

    def mixes(self, node: ast.AST) -> bool:
        """Return whether an expression that reads an argument computes with a result, other than as an index."""
        if isinstance(node, ast.Subscript):
            return self.mixes(node.value)
        if self._is_call(node) or isinstance(node, ast.Name):
            return self.reads_result(node)
        return any(map(self.mixes, ast.iter_child_nodes(node)))

    def _is_call(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        root: ast.AST = node.func
        if isinstance(root, ast.Attribute) and root.attr in self._functions:  # a method of a test class
            return True
        while isinstance(root, ast.Attribute | ast.Call | ast.Subscript):
            root = root.func if isinstance(root, ast.Call) else root.value
        return isinstance(root, ast.Name) and (
            root.id in self._functions or (root.id in self._results and isinstance(node.func, ast.Attribute))
        )

    @staticmethod
    def _passed(node: ast.AST) -> Iterator[str]:
        assert isinstance(node, ast.Call)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            while isinstance(inner, ast.Subscript | ast.Attribute):
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield inner.id


def _assignments(tree: ast.Module) -> Iterator[tuple[set[str], ast.expr]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                yield {name for target in targets for name in _names_in(target)}, value
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield set(_names_in(target)), value
            case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                yield set(_names_in(target)), value
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield set(_names_in(target)), value


def _names_in(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]


def _compared(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield the pairs of expressions that tests compare, and each other condition with a constant."""
    nothing = ast.Constant(value=None)
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=comparators):
                sides = [left, *comparators]
                yield from ((a, b) for index, a in enumerate(sides) for b in sides[index + 1 :])
            case ast.Assert(test=test) if not any(isinstance(one, ast.Compare) for one in ast.walk(test)):
                yield test, nothing
            case ast.Call(args=[first, second, *_]) if "assert" in _last_name(node.func).lower():
                yield first, second
            case ast.Call(args=[only]) if "assert" in _last_name(node.func).lower():
                yield only, nothing
            case ast.Call(args=arguments) if len(arguments) > 1:
                # A helper such as isclose(result, expected) compares what it is given.
                yield from ((a, b) for index, a in enumerate(arguments) for b in arguments[index + 1 :])
