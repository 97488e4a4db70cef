r"""A set that an equation defines, answered by its members: ``\{x \mid x > 0, x^2 = 4\}`` by ``\{2\}``."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import REALS, Domain, declaration
from guerdon_plugins.verifiers.math.comparing.exact import rational
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, context, names_in
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Listing,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    SetBuilder,
    SetOf,
    Sum,
    Symbol,
    negate,
)

__all__ = ["solves"]

_PRECISION = 400
_SAME_BITS = 150
_MOST_POINTS = 10
_LARGEST_DEGREE = 6
_MAX_DENOMINATOR = 10_000

Polynomial = list[Fraction]
"""Coefficients, the constant first."""


def solves(reference: Node, answer: Node, budget: Budget) -> bool:
    """Return whether an answer lists the solutions of the polynomial equation in a reference, all and no others.

    Raises:
        ArithmeticError: The equation is not one with rational coefficients, or a member has no value.
        TooLargeError: The budget is spent.
    """
    if not isinstance(reference, SetBuilder) or not isinstance(answer, SetOf):
        return False
    found = _equation(reference, budget)
    if found is None or not all(isinstance(item, SCALARS) and not names_in(item) for item in answer.items):
        return False
    letter, difference, domain = found
    roots = _roots(difference, letter, domain, budget)
    if roots is None or len(roots) != len(answer.items):
        return False
    ctx = context(_PRECISION)
    for item in answer.items:
        value = Evaluator(_PRECISION, {}, budget).value(item)
        near = [root for root in roots if abs(root - value) < ctx.ldexp(1 + abs(root), -_SAME_BITS)]
        if len(near) != 1:
            return False
        roots.remove(near[0])
    return True


def _equation(builder: SetBuilder, budget: Budget) -> tuple[str, Node, Domain] | None:
    """Return the letter, the difference that is zero, and the domain that the other conditions say."""
    conditions: list[Node] = [builder.condition]
    if isinstance(builder.condition, Listing):
        if builder.condition.joiner == "or":
            return None
        conditions = list(builder.condition.items)
    match builder.element:
        case Symbol(name=letter):
            pass
        case Relation(operands=(Symbol(name=letter), _), operators=("∈",)):
            conditions.append(builder.element)
        case _:
            return None
    difference: Node | None = None
    domain = REALS
    systems = set()
    for condition in conditions:
        match condition:
            case Relation(operands=(left, right), operators=("=",)) if difference is None:
                difference = Sum((left, negate(right)))
            case _:
                declared = declaration(condition, budget)
                if declared is None or declared[0] != letter:
                    return None
                domain = domain.intersection(declared[1])
                systems.add(declared[1].name)
    if difference is None or names_in(difference) != {letter} or "C" in systems:
        return None
    return letter, difference, replace(domain, name="Q" if "Q" in systems else "")


def _roots(difference: Node, letter: str, domain: Domain, budget: Budget) -> list[Any] | None:
    """Return the real roots of a polynomial in a domain; ``None`` where it is not a polynomial of a small degree."""
    if not _is_polynomial(difference):
        return None
    polynomial = _polynomial(
        [rational(difference, budget, {letter: Fraction(at)}) for at in range(_MOST_POINTS)]
    )
    if not 1 <= len(polynomial) - 1 <= _LARGEST_DEGREE:
        return None
    common = _greatest_divisor(polynomial, _derivative(polynomial))
    polynomial = _divided(polynomial, common)[0]  # each root once
    ctx = context(_PRECISION)
    coefficients = [ctx.mpf(value.numerator) / value.denominator for value in reversed(polynomial)]
    try:
        found = ctx.polyroots(coefficients, maxsteps=200, extraprec=2 * _PRECISION)
    except ctx.NoConvergence:
        return None
    roots = []
    for root in found:
        if abs(ctx.im(root)) > ctx.ldexp(1 + abs(root), -_SAME_BITS):
            continue
        real = ctx.re(root)
        exact = Fraction(int(ctx.nint(ctx.ldexp(real, 200))), 2**200).limit_denominator(_MAX_DENOMINATOR)
        if not _value(polynomial, exact):
            if exact in domain:
                roots.append(ctx.mpf(exact.numerator) / exact.denominator)
        elif not domain.whole and domain.name != "Q" and _between(real, domain, ctx):
            roots.append(real)
    return roots


def _is_polynomial(node: Node) -> bool:
    """Return whether sums, products and whole powers make an expression: an absolute value has roots on two sides."""
    match node:
        case Number() | Symbol():
            return True
        case Sum(terms=parts) | Product(factors=parts):
            return all(map(_is_polynomial, parts))
        case Power(base=base, exponent=Number(value=power)):
            return _is_polynomial(base) and power in range(1, _LARGEST_DEGREE + 1)
        case Quotient(numerator=above, denominator=Number()):
            return _is_polynomial(above)
    return False


def _between(value: Any, domain: Domain, ctx: Any) -> bool:
    """Return whether an irrational number is between the ends of a domain."""
    low, high = (
        None if end is None else ctx.mpf(end.numerator) / end.denominator for end in (domain.low, domain.high)
    )
    return (low is None or value > low) and (high is None or value < high)


def _polynomial(values: list[Fraction]) -> Polynomial:
    """Return the polynomial through the values at 0, 1, 2, …, without leading zeros."""
    result: Polynomial = [Fraction(0)]
    basis: Polynomial = [Fraction(1)]
    differences = values
    for order in range(len(values)):
        result = _added(result, [differences[0] * value for value in basis])
        basis = [
            value / (order + 1)
            for value in _added([Fraction(0), *basis], [-order * value for value in basis])
        ]
        differences = [after - before for before, after in itertools.pairwise(differences)]
    return _trimmed(result)


def _added(left: Polynomial, right: Polynomial) -> Polynomial:
    size = max(len(left), len(right))
    padded = ([*side, *[Fraction(0)] * (size - len(side))] for side in (left, right))
    return [one + other for one, other in zip(*padded, strict=True)]


def _trimmed(polynomial: Polynomial) -> Polynomial:
    while len(polynomial) > 1 and not polynomial[-1]:
        polynomial = polynomial[:-1]
    return polynomial


def _derivative(polynomial: Polynomial) -> Polynomial:
    return _trimmed([power * value for power, value in enumerate(polynomial)][1:] or [Fraction(0)])


def _divided(above: Polynomial, below: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Return the quotient and the remainder."""
    quotient: Polynomial = [Fraction(0)] * max(1, len(above) - len(below) + 1)
    rest = list(above)
    while len(rest) >= len(below) and any(rest):
        shift = len(rest) - len(below)
        factor = rest[-1] / below[-1]
        quotient[shift] = factor
        rest = _trimmed(_added(rest, [*[Fraction(0)] * shift, *(-factor * value for value in below)]))
    return quotient, rest


def _greatest_divisor(left: Polynomial, right: Polynomial) -> Polynomial:
    while any(right):
        left, right = right, _divided(left, right)[1]
    return left


def _value(polynomial: Polynomial, at: Fraction) -> Fraction:
    result = Fraction(0)
    for value in reversed(polynomial):
        result = result * at + value
    return result
