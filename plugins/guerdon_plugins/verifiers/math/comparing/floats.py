"""Values in machine numbers: fast and rough, good for finding where to look, never for deciding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from guerdon_plugins.verifiers.math.nodes import (
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
)

_CONSTANTS = {"pi": math.pi, "e": math.e, "degree": math.pi / 180, "percent": 0.01}


def approximate(node: Node, point: Mapping[str, float]) -> float:
    """Return the value at a point.

    Raises:
        ArithmeticError: There is none, or it is too large.
        ValueError: There is no real one.
        KeyError: A variable has no value.
    """
    match node:
        case Number(value=value):
            return value.numerator / value.denominator
        case Symbol(name=name):
            return point[name]
        case Constant(name=name):
            return _CONSTANTS[name]
        case Sum(terms=terms):
            return sum(approximate(term, point) for term in terms)
        case Product(factors=factors):
            return math.prod(approximate(factor, point) for factor in factors)
        case Quotient(numerator=numerator, denominator=denominator):
            return approximate(numerator, point) / approximate(denominator, point)
        case Power(base=base, exponent=exponent):
            return math.pow(approximate(base, point), approximate(exponent, point))
        case Call(function=function, arguments=arguments) if function in _FUNCTIONS:
            return _FUNCTIONS[function](*(approximate(argument, point) for argument in arguments))
    raise ValueError("it has no rough value")


def _root(value: float, index: float) -> float:
    if value < 0 and index % 2 == 1:
        return -math.pow(-value, 1 / index)
    return math.pow(value, 1 / index)


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "root": _root,
    "log": math.log,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "mod": lambda value, modulus: value % modulus,
    "max": max,
    "min": min,
    "factorial": lambda value: math.gamma(value + 1),
    "gamma": math.gamma,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "arcsinh": math.asinh,
    "arccosh": math.acosh,
    "arctanh": math.atanh,
}
