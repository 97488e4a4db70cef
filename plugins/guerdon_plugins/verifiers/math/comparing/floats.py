"""Values in machine numbers: fast and rough, good for finding where to look, never for deciding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import itemgetter

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


Approximation = Callable[[Mapping[str, float]], float]


def approximation(node: Node) -> Approximation:
    """Return the function of a point that an expression is, in machine numbers.

    The function raises ArithmeticError or ValueError where there is no real value, KeyError without a variable's.

    Raises:
        ValueError: The expression has no rough value anywhere.
        ArithmeticError: A numeral in it is too large.
        KeyError: A constant has no rough value.
    """
    match node:
        case Number(value=value):
            number = value.numerator / value.denominator
            return lambda _: number
        case Symbol(name=name):
            return itemgetter(name)
        case Constant(name=name):
            constant = _CONSTANTS[name]
            return lambda _: constant
        case Sum(terms=terms):
            parts = [approximation(term) for term in terms]
            return lambda point: sum([part(point) for part in parts])
        case Product(factors=factors):
            parts = [approximation(factor) for factor in factors]
            return lambda point: math.prod([part(point) for part in parts])
        case Quotient(numerator=numerator, denominator=denominator):
            above, below = approximation(numerator), approximation(denominator)
            return lambda point: above(point) / below(point)
        case Power(base=base, exponent=exponent):
            bottom, top = approximation(base), approximation(exponent)
            return lambda point: math.pow(bottom(point), top(point))
        case Call(function=function, arguments=arguments) if function in _FUNCTIONS:
            apply, parts = _FUNCTIONS[function], [approximation(argument) for argument in arguments]
            return lambda point: apply(*[part(point) for part in parts])
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
