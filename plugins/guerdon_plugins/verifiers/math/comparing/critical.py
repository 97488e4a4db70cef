"""Where an expression may change its form: kinks, jumps, poles and the borders of its domain, in one variable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.floats import approximation
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import rebuild
from guerdon_plugins.verifiers.math.nodes import (
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Standing,
    Sum,
    children,
    negate,
)

Point = dict[str, Fraction]

MAX_BORDERS = 40
_STEPS = tuple(map(Fraction, (0, 1, -1, 2, 3)))
"""Whole numbers at which a floor jumps; further ones repeat the pattern."""
_GRID = (
    *(
        -1e15,
        -1e12,
        -1e10,
        -1e9,
        -1e8,
        -1e7,
        -1e6,
        -1e5,
        -3e4,
        -1e4,
        -3000.0,
        -1000.0,
        -300.0,
        -100.0,
        -60.0,
        -40.0,
        -30.0,
        -25.0,
        -20.0,
        -17.0,
    ),
    *(half / 2 + 0.013 for half in range(-28, 0)),
    *(-1e-3, -1e-6, -1e-10, -1e-15, 1e-15, 1e-10, 1e-6, 1e-3),
    *(half / 2 + 0.013 for half in range(29)),
    *(
        17.0,
        20.0,
        25.0,
        30.0,
        40.0,
        60.0,
        100.0,
        300.0,
        1000.0,
        3000.0,
        1e4,
        3e4,
        1e5,
        1e6,
        1e7,
        1e8,
        1e9,
        1e10,
        1e12,
        1e15,
    ),
)
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class Border:
    """An expression and the values at which the enclosing expression changes its form."""

    expression: Node
    targets: tuple[Fraction, ...]
    is_pole: bool = False
    """Whether the function is meromorphic around it, so that it has one formula on both sides."""


_AT_ZERO = (Fraction(0),)
_AT_ONES = (Fraction(1), Fraction(-1))
_AT_BORDER: dict[str, tuple[Fraction, ...]] = {
    **dict.fromkeys(("abs", "norm", "sign", "root", "log"), _AT_ZERO),
    **dict.fromkeys(("factorial", "double_factorial", "gamma"), _AT_ZERO),
    **dict.fromkeys(("floor", "ceil"), _STEPS),
    **dict.fromkeys(("arcsin", "arccos", "arccosh", "arctanh"), _AT_ONES),
}


_ENTIRE = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch", "exp")
)
"""Functions without a branch: of a meromorphic function they are analytic but for isolated points."""


def borders(*nodes: Node) -> list[Border]:
    """Return the borders in expressions, each once."""
    found: dict[Border, None] = {}
    stack = [(node, True) for node in nodes]
    while stack and len(found) < MAX_BORDERS:
        item, is_analytic = stack.pop()
        if isinstance(item, Standing):
            continue
        for border in _borders_of(item):
            if names_in(border.expression):
                pole = border.is_pole and is_analytic
                found[border if pole == border.is_pole else replace(border, is_pole=pole)] = None
        inside = is_analytic and _keeps_analytic(item)
        stack.extend((child, inside) for child in children(item))
    return list(found)


def _keeps_analytic(node: Node) -> bool:
    """Return whether a meromorphic function stays one, or gets an essential singularity at most, under an operation."""
    match node:
        case Call(function=function):
            return function in _ENTIRE
        case Power(exponent=Number(value=value)):
            return value.denominator == 1
        case Power(base=Number() | Constant()):
            return True
    return not isinstance(node, Power)


def _borders_of(node: Node) -> Iterator[Border]:
    match node:
        case Call(function="max" | "min" | "binom", arguments=arguments):
            for left, right in itertools.islice(itertools.combinations(arguments, 2), 10):
                yield Border(Sum((left, negate(right))), _AT_ZERO)
            if node.function == "binom":
                yield from (Border(argument, _AT_ZERO) for argument in arguments)
        case Call(function="mod", arguments=(value, modulus)):
            yield Border(Quotient(value, modulus), _STEPS)
        case Call(function="gcd" | "lcm", arguments=arguments):
            yield from (Border(argument, _AT_ZERO) for argument in arguments)
        case Call(function="floor" | "ceil" as function, arguments=(argument,)):
            yield Border(_without_steps(argument), _AT_BORDER[function])
        case Call(function=function, arguments=(argument, *_)) if function in _AT_BORDER:
            yield from (Border(part, _AT_BORDER[function]) for part in _parts(argument))
        case Quotient(denominator=denominator):
            yield from (Border(part, _AT_ZERO, True) for part in _parts(denominator) if not _never_zero(part))
        case Power(base=base, exponent=exponent) if not _is_natural(exponent):
            whole = isinstance(exponent, Number) and exponent.value.denominator == 1
            yield from (Border(part, _AT_ZERO, whole) for part in _parts(base))


def _without_steps(node: Node) -> Node:
    """Return an expression with its floors and ceilings taken away: it takes a value about where they do."""
    if isinstance(node, Call) and node.function in ("floor", "ceil"):
        return _without_steps(node.arguments[0])
    result: Node = rebuild(node, _without_steps)
    return result


def _never_zero(node: Node) -> bool:
    match node:
        case Call(function="factorial" | "gamma" | "double_factorial"):
            return True
        case Power(base=Constant(name="e" | "pi")):
            return True
        case Power(base=Number(value=value)):
            return value > 0
    return False


def _is_natural(node: Node) -> bool:
    return isinstance(node, Number) and node.value.denominator == 1 and node.value >= 0


def _parts(node: Node) -> list[Node]:
    """Return an expression and the factors whose zeros are its own: ``(x-3)^2`` has a zero without a sign change."""
    match node:
        case Product(factors=factors):
            return [node, *factors]
        case Power(base=base):
            return [node, base]
        case Quotient(numerator=numerator):
            return [node, numerator]
    return [node]


def solutions(border: Border, name: str, point: Point, budget: Budget) -> list[Fraction]:
    """Return the values of a variable at which a border lies, the other variables being as in the point."""
    if name not in names_in(border.expression):
        return []
    polynomial = _quadratic(border.expression, name, point, budget) or _rough_quadratic(
        border.expression, name, point
    )
    found: list[Fraction] = []
    for target in border.targets:
        if polynomial is not None:
            a, b, c = polynomial
            found += _roots(a, b, c - target)
        else:
            found += _searched(border.expression, float(target), name, point, budget)
    return found


def _quadratic(
    node: Node, name: str, point: Point, budget: Budget
) -> tuple[Fraction, Fraction, Fraction] | None:
    """Return the coefficients of an expression that is a polynomial of degree two at most."""
    try:
        values = {
            place: rational(node, budget, {**point, name: Fraction(place)}) for place in (0, 1, 2, 5, -7)
        }
    except (NotExactError, UndefinedError):
        return None
    c = values[0]
    a = (values[2] - 2 * values[1] + c) / 2
    b = values[1] - c - a
    fits = all(a * place**2 + b * place + c == value for place, value in values.items())
    return (a, b, c) if fits else None


def _rough_quadratic(node: Node, name: str, point: Point) -> tuple[Fraction, Fraction, Fraction] | None:
    """Return the same for irrational coefficients, to about fifteen digits, in machine numbers."""
    place = {letter: float(value) for letter, value in point.items()}
    try:
        rough = approximation(node)
        values = {x: rough({**place, name: float(x)}) for x in (0, 1, 2, 5, -7)}
    except (ArithmeticError, ValueError, KeyError):
        return None
    if not all(map(math.isfinite, values.values())):
        return None
    c = values[0]
    a = (values[2] - 2 * values[1] + c) / 2
    b = values[1] - c - a
    scale = max(map(abs, values.values())) + 1
    if any(abs(a * x * x + b * x + c - value) > 1e-9 * scale for x, value in values.items()):
        return None
    a = 0.0 if abs(a) < 1e-9 * scale else a
    return Fraction(a), Fraction(b), Fraction(c)


def _roots(a: Fraction, b: Fraction, c: Fraction) -> list[Fraction]:
    if not a:
        return [-c / b] if b else []
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return []
    root = _square_root(discriminant)
    return [(-b - root) / (2 * a), (-b + root) / (2 * a)]


def _square_root(value: Fraction) -> Fraction:
    """Return the exact root where it is rational, else one that is right to twelve digits."""
    top, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and below * below == value.denominator:
        return Fraction(top, below)
    scale = 10**24
    return Fraction(math.isqrt(value.numerator * scale // value.denominator), 10**12)


def _searched(node: Node, target: float, name: str, point: Point, budget: Budget) -> list[Fraction]:
    """Return roots by changes of sign, and by minima of the distance, over a grid."""
    place = {letter: float(value) for letter, value in point.items()}
    asked = 0
    try:
        rough = approximation(node)
    except (ArithmeticError, ValueError, KeyError):
        return []

    def distance(value: float) -> float | None:
        nonlocal asked
        asked += 1
        budget.spend(asked % 4 == 0)  # machine numbers are cheap
        place[name] = value
        try:
            result = rough(place) - target
        except (ArithmeticError, ValueError, KeyError):
            return None
        return result if math.isfinite(result) else None

    values = [distance(value) for value in _GRID]
    found: list[float] = []
    for index, (left, right) in enumerate(itertools.pairwise(values)):
        low, high = _GRID[index], _GRID[index + 1]
        if left is None or right is None:
            if left is not right:
                found.append(_edge(distance, low, high, left is not None))
        elif left * right <= 0:
            found.append(_bisected(distance, low, high))
        elif (
            index > 0
            and (before := values[index - 1]) is not None
            and abs(left) <= min(abs(before), abs(right))
        ):
            found.append(_lowest(distance, _GRID[index - 1], high))
    return [_rounded(value) for value in found]


def _bisected(distance: Callable[[float], float | None], low: float, high: float) -> float:
    start = distance(low) or 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        value = distance(middle)
        if value is None:
            break
        if value * start > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _edge(distance: Callable[[float], float | None], low: float, high: float, below: bool) -> float:
    """Return where the expression begins, or ends, to have a value."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if (distance(middle) is not None) == below:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _lowest(distance: Callable[[float], float | None], low: float, high: float) -> float:
    for _ in range(_BISECTIONS):
        third = (high - low) / 3
        left, right = distance(low + third), distance(high - third)
        if left is None or right is None:
            break
        if abs(left) < abs(right):
            high -= third
        else:
            low += third
    return (low + high) / 2


def _rounded(value: float) -> Fraction:
    """Return the simplest fraction next to a root that was found to about ten digits."""
    exact = Fraction(value)
    simple = exact.limit_denominator(1000)
    return simple if abs(simple - exact) <= abs(exact) / 10**9 else exact
