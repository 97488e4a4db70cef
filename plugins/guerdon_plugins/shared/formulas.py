"""Formulas in Python's notation, read without running them."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

MAX_CHARACTERS = 2000
_MAX_HEIGHT = 2
"""The most powers in one another; the value of ``9**9**9**9`` has no room."""
_MAX_EXPONENT = 100

_FUNCTIONS = frozenset(
    (
        *("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "asec", "acsc", "acot"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "exp", "log", "ln", "sqrt", "cbrt"),
        *("abs", "Abs", "erf", "erfi", "Si", "Ci", "Ei", "li"),
    )
)
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_NODES = (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, *_ARITHMETIC, ast.Pow, ast.UAdd, ast.USub)
_ODD_NUMBER = re.compile(r"\d\w*[^\W\d]")
"""``0x10``, ``1_0`` or ``1e3``, which a search for whole numbers does not find."""


def formula(text: str) -> ast.expr | None:
    """Return the tree of a formula, or ``None``. It has numbers, names, operators and calls of known functions."""
    if len(text) > MAX_CHARACTERS or "#" in text or _ODD_NUMBER.search(text):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        is_small = _height(tree) <= _MAX_HEIGHT
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if is_small and all(map(_is_known, ast.walk(tree))) else None


def is_arithmetic(tree: ast.expr) -> bool:
    """Return whether a formula has only whole numbers and the four operations, and has a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Call | ast.Pow) or (
            isinstance(node, ast.Constant) and not isinstance(node.value, int)
        ):
            return False
    try:
        value_of(tree)
    except (ZeroDivisionError, RecursionError):
        return False
    return True


def value_of(tree: ast.expr) -> Fraction:
    """Return the value of arithmetic.

    Raises:
        ZeroDivisionError: It divides by 0.
    """
    match tree:
        case ast.Constant(value=int(value)):
            return Fraction(value)
        case ast.UnaryOp(op=sign, operand=operand):
            return -value_of(operand) if isinstance(sign, ast.USub) else value_of(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](value_of(left), value_of(right))
    raise TypeError(f"{ast.dump(tree)[:60]} is not arithmetic")


def integers(tree: ast.expr) -> list[int]:
    """Return the whole numbers in a formula."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, int)
    ]


def _height(node: ast.AST) -> int:
    is_power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    return is_power + max(map(_height, ast.iter_child_nodes(node)), default=0)


def _is_known(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Pow(), right=exponent) if any(
            one > _MAX_EXPONENT for one in integers(exponent)
        ):
            return False
        case ast.Call(func=ast.Name(id=name), args=[_], keywords=[]):
            return name in _FUNCTIONS
        case ast.Constant(value=value):
            return type(value) in (int, float)
    return isinstance(node, _NODES)
