"""Equations and inequalities as answers: equal where one is the other times a constant that is not zero."""

from __future__ import annotations

from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import Domains, with_index_letters
from guerdon_plugins.verifiers.math.comparing.exact import Field, NotExactError, UndefinedError
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, is_complex, names_in
from guerdon_plugins.verifiers.math.comparing.points import points
from guerdon_plugins.verifiers.math.comparing.scalars import EVERYWHERE, POINT_PRECISION
from guerdon_plugins.verifiers.math.nodes import SCALARS, Node, Relation, Sum, negate

_AGREEING_BITS = 90


def same_equation(
    reference: Relation, answer: Relation, budget: Budget, domains: Domains = EVERYWHERE
) -> bool:
    """Return whether two equations, or two inequalities in one direction, differ by a constant factor only."""
    left, right = as_difference(reference), as_difference(answer)
    if left is None or right is None or left[1] != right[1]:
        return False
    names = names_in(left[0])
    if not names or names != names_in(right[0]):
        return False
    directed = left[1] in ("<", "≤")
    if directed and (is_complex(left[0]) or is_complex(right[0])):
        return False
    try:
        proportional = _proportional_in_fields(left[0], right[0], budget, directed=directed)
    except UndefinedError:
        return False
    except NotExactError:
        return _proportional_at_points(left[0], right[0], budget, domains, directed=directed)
    return proportional and (not directed or _same_sign(left[0], right[0], budget, domains))


def is_proportional(left: Node, right: Node, budget: Budget, factor: int | None = None) -> bool:
    """Return whether one expression is the other times a constant, or times a given one."""
    values = [pair for pair in _values_at_points(left, right, budget, EVERYWHERE) if all(pair)]
    if len(values) < 3:
        return False
    first = values[0][0] / values[0][1] if factor is None else factor
    return all(abs(f / g - first) <= abs(first) / 2**_AGREEING_BITS for f, g in values)


def as_difference(relation: Relation) -> tuple[Node, str] | None:
    """Read ``left < right`` as ``left - right`` and ``<``; every inequality points to the left."""
    if len(relation.operands) != 2 or not all(isinstance(operand, SCALARS) for operand in relation.operands):
        return None
    left, right = relation.operands
    operator = relation.operators[0]
    if operator in (">", "≥"):
        left, right, operator = right, left, {">": "<", "≥": "≤"}[operator]
    return (Sum((left, negate(right))), operator) if operator in ("=", "<", "≤", "≠") else None


def _proportional_in_fields(left: Node, right: Node, budget: Budget, *, directed: bool) -> bool:
    """Return whether the ratio is the same at two points; for equations a denominator makes no difference."""
    for index in (0, 1):
        values = []
        for seed in ("first", "second"):
            field = Field(index, seed, budget)
            if directed:
                values.append((field.value(left), field.value(right)))
            else:
                values.append((field.fraction(left)[0], field.fraction(right)[0]))
        (f1, g1), (f2, g2) = values
        if not (f1 and g1 and f2 and g2) or (f1 * g2 - f2 * g1) % field.prime:
            return False
    return True


def _values_at_points(left: Node, right: Node, budget: Budget, domains: Domains) -> list[tuple[Any, Any]]:
    """Return the values of both sides wherever both have one."""
    values = []
    complex_values = is_complex(left) or is_complex(right)
    names = sorted(names_in(left) | names_in(right))
    for point in points(names, with_index_letters(domains, left, right), (left, right), budget):
        evaluators = [
            Evaluator(POINT_PRECISION, point, budget, complex_values=complex_values) for _ in range(2)
        ]
        try:
            pair = evaluators[0].value(left), evaluators[1].value(right)
        except (UndefinedError, UndecidedError, OverflowError):
            continue
        if max(evaluator.lost for evaluator in evaluators) < POINT_PRECISION - _AGREEING_BITS - 10:
            values.append(pair)
    return values


def _proportional_at_points(
    left: Node, right: Node, budget: Budget, domains: Domains, *, directed: bool
) -> bool:
    values = _values_at_points(left, right, budget, domains)
    both = [pair for pair in values if all(pair)]
    if len(both) < 3 or any(bool(f) != bool(g) for f, g in values):
        return False
    first = both[0][0] / both[0][1]
    if directed and first < 0:
        return False
    return all(abs(f / g - first) <= abs(first) / 2**_AGREEING_BITS for f, g in both[1:])


def _same_sign(left: Node, right: Node, budget: Budget, domains: Domains) -> bool:
    values = [pair for pair in _values_at_points(left, right, budget, domains) if all(pair)]
    return bool(values) and all((f > 0) == (g > 0) for f, g in values)
