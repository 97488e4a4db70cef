"""A calculator: arithmetic on numbers, and nothing else of Python."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

MAX_CHARACTERS = 500
"""The most characters of an expression."""
MAX_DIGITS = 1_000
"""The most digits of an exact number."""

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "gcd": lambda *numbers: Fraction(math.gcd(*map(_whole, numbers))),
    "lcm": lambda *numbers: Fraction(math.lcm(*map(_whole, numbers))),
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": lambda number: _root(number),
    "tan": math.tan,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}


def calculator(expression: str) -> str:
    """Calculate the value of an arithmetic expression. Whole numbers and fractions are exact.

    Args:
        expression: Numbers, + - * / // % ** and brackets; abs, ceil, cos, exp, floor, gcd, lcm, log, log10, log2, max,
            min, round, sin, sqrt, tan; pi and e. For example "2 * (3 + 4) ** 2".
    """
    if len(expression) > MAX_CHARACTERS:
        raise ValueError(
            f"the expression has {len(expression)} characters, and at most {MAX_CHARACTERS} are read"
        )
    try:
        tree = ast.parse(
            expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/"), mode="eval"
        )
        value = _value(tree.body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"this is not an arithmetic expression: {expression[:80]}") from None
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise ValueError("the number is too large") from None
    return _text(value)


def _value(node: ast.expr) -> Fraction | float:
    match node:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _bounded(_exact(number))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _bounded(_UNARY[type(op)](_value(operand)))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            values = [_value(argument) for argument in arguments]
            try:
                return _bounded(_FUNCTIONS[name](*values))
            except TypeError:
                raise ValueError(f"{name} does not take {len(values)} numbers") from None
    raise ValueError(f"this is not arithmetic: {ast.unparse(node)[:80]}")


def _exact(number: float) -> Fraction | float:
    """Return a number as it is written: 0.1 is a tenth."""
    if isinstance(number, int):
        return Fraction(number)
    if not math.isfinite(number):
        raise OverflowError
    return Fraction(repr(number)) if 1e-30 < abs(number) < 1e30 or number == 0 else number


def _power(base: Fraction | float, exponent: Fraction | float) -> Fraction | float:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        digits = max(abs(base.numerator), base.denominator).bit_length() * abs(exponent.numerator) * 0.302
        if digits > MAX_DIGITS:
            raise OverflowError
        return Fraction(base**exponent.numerator)
    power = float(base) ** float(exponent)
    if isinstance(power, complex):
        raise ValueError("the power is not a real number")
    return _bounded(power)


def _root(number: Fraction | float) -> Fraction | float:
    if number < 0:
        raise ValueError("the square root of a negative number is not a real number")
    if isinstance(number, Fraction):
        root = Fraction(math.isqrt(number.numerator), math.isqrt(number.denominator))
        if root * root == number:
            return root
    return math.sqrt(number)


def _whole(number: Fraction | float) -> int:
    if number != int(number):
        raise ValueError("gcd and lcm take whole numbers")
    return int(number)


def _bounded(number: Any) -> Fraction | float:
    if isinstance(number, int):
        number = Fraction(number)
    if isinstance(number, Fraction):
        if max(abs(number.numerator), number.denominator).bit_length() * 0.302 > MAX_DIGITS:
            raise OverflowError
        return number
    if not math.isfinite(number):
        raise OverflowError
    return float(number)


def _text(value: Fraction | float) -> str:
    """Return a number as a person writes it: ``4``, ``0.3``, or the digits that a float has."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    decimal = repr(float(value)) if abs(value) < 10**300 else ""
    if rest == 1 and decimal and Fraction(decimal) == value:
        return decimal
    return f"{value.numerator}/{value.denominator}" + (f" (about {decimal})" if decimal else "")
