"""Equations that are equal as curves: chains for a line, several equations for one, families with a constant."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.equations import as_difference, is_proportional
from guerdon_plugins.verifiers.math.comparing.exact import rational
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.errors import TooLargeError
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Listing,
    Node,
    Product,
    Quotient,
    Relation,
    Sum,
    integer,
    negate,
)

__all__ = ["as_one_equation", "line_equations", "reduced_rows", "same_family_of_curves", "same_line"]

_COORDINATES = ("x", "y", "z")
_MOST_EQUATIONS = 4
_OF_INTEGRATION = frozenset(("C", "c", "K", "k", "A", "C_1", "c_1", "C_0"))
_VARIABLES = frozenset("xyt")


def same_line(reference: Relation, answer: Relation, budget: Budget) -> bool:
    r"""Return whether two chains ``\frac{x-1}2 = \frac{y+1}{-3} = \frac z4`` are one line: by their equations."""
    rows = [line_equations(chain, budget) for chain in (reference, answer)]
    if rows[0] is None or rows[1] is None:
        return False
    return len(rows[0]) == len(reference.operands) - 1 and rows[0] == rows[1]


def line_equations(chain: Relation, budget: Budget) -> list[list[Fraction]] | None:
    """Return the linear equations of a chain in the coordinates, in reduced form; ``None`` for another chain."""
    if set(chain.operators) != {"="} or len(chain.operands) < 3:
        return None
    if not all(isinstance(side, SCALARS) for side in chain.operands) or not names_in(
        Sum(chain.operands)
    ) <= set(_COORDINATES):
        return None
    try:
        sides = [_coefficients(side, budget) for side in chain.operands]
    except (ArithmeticError, ValueError):
        return None
    rows = [[one - other for one, other in zip(side, sides[0], strict=True)] for side in sides[1:]]
    return reduced_rows(rows)


def _coefficients(side: Node, budget: Budget) -> list[Fraction]:
    """Return the coefficients of a linear function of the coordinates and its constant.

    Raises:
        ValueError: It is not linear.
        ArithmeticError: It has no rational values.
    """
    zero = dict.fromkeys(_COORDINATES, Fraction(0))
    constant = rational(side, budget, zero)
    slopes = [rational(side, budget, {**zero, name: Fraction(1)}) - constant for name in _COORDINATES]
    for point in ((2, 3, 5), (-7, 11, 4)):
        place = dict(zip(_COORDINATES, map(Fraction, point), strict=True))
        expected = constant + sum(slope * value for slope, value in zip(slopes, point, strict=True))
        if rational(side, budget, place) != expected:
            raise ValueError("a side that is not linear")
    return [*slopes, constant]


def reduced_rows(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return rows in reduced echelon form, without rows of zeros."""
    rows = [list(row) for row in rows]
    done = 0
    for column in range(len(rows[0])):
        pivot = next((place for place in range(done, len(rows)) if rows[place][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        rows[done] = [value / rows[done][column] for value in rows[done]]
        for place in range(len(rows)):
            if place != done and (factor := rows[place][column]):
                rows[place] = [a - factor * b for a, b in zip(rows[place], rows[done], strict=True)]
        done += 1
    return rows[:done]


def as_one_equation(node: Node, other: Node) -> Node:
    r"""Return ``y = \pm\sqrt x``, ``x = 0 or y = 0`` against one equation in two letters as one equation.

    Several equations in one letter are its solutions, which the question may ask for.
    """
    if not isinstance(node, Listing) or not 2 <= len(node.items) <= _MOST_EQUATIONS:
        return node
    if not isinstance(other, Relation) or other.operators != ("=",) or len(names_in(other)) < 2:
        return node
    differences = [as_difference(item) if isinstance(item, Relation) else None for item in node.items]
    sides = [found[0] for found in differences if found is not None and found[1] == "="]
    if len(sides) < len(node.items) or names_in(Sum(tuple(sides))) != names_in(other):
        return node
    lefts = {item.operands[0] for item in node.items if isinstance(item, Relation)}
    if node.joiner != "or" and len(lefts) > 1:
        return node
    return Relation((Product(tuple(sides)), integer(0)), ("=",))


def same_family_of_curves(reference: Relation, answer: Relation) -> bool:
    """Return whether two general solutions with one constant each hold the same curves.

    Each is solved for its constant, in which it is linear; the two may differ by a factor, a sign, or be inverse.
    """
    try:
        left, right = (_solved_for_constant(node) for node in (reference, answer))
        if left is None or right is None or names_in(left) != names_in(right):
            return False
        return any(is_proportional(left, given, Budget()) for given in (right, Quotient(integer(1), right)))
    except TooLargeError:
        return False


def _solved_for_constant(relation: Relation) -> Node | None:
    r"""Return ``F(x, y)`` of a solution ``F(x, y) = C``; ``None`` where there is no single constant of integration."""
    if as_difference(relation) is None or relation.operators != ("=",):
        return None
    (above, below), (over, under) = map(_fraction, relation.operands)
    difference: Node = Sum((Product((above, under)), negate(Product((over, below)))))
    names = names_in(difference)
    constants = names & _OF_INTEGRATION
    if len(constants) != 1 or len(names - constants) != 2 or not names - constants <= _VARIABLES:
        return None
    (constant,) = constants
    at = [substitute(difference, constant, integer(value)) for value in (0, 1, 2)]
    slope: Node = Sum((at[1], negate(at[0])))
    again: Node = Sum((at[2], negate(at[1])))
    return Quotient(negate(at[0]), slope) if is_proportional(slope, again, Budget(), factor=1) else None


def _fraction(node: Node) -> tuple[Node, Node]:
    """Return the numerator and the denominator of a product of fractions."""
    match node:
        case Quotient(numerator=above, denominator=below):
            return above, below
        case Product(factors=factors):
            parts = [_fraction(factor) for factor in factors]
            return Product(tuple(above for above, _ in parts)), Product(tuple(below for _, below in parts))
    return node, integer(1)
