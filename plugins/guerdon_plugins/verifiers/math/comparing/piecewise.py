"""Functions given case by case, compared as functions: order, overlap and the side of a border do not matter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.critical import Point
from guerdon_plugins.verifiers.math.comparing.domains import INTEGERS, Domains, with_index_letters
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, is_complex, names_in
from guerdon_plugins.verifiers.math.comparing.points import points
from guerdon_plugins.verifiers.math.comparing.scalars import (
    POINT_PRECISION,
    Finding,
    agree_at,
    described,
    only_first_is_defined,
)
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Conditional,
    Congruence,
    Listing,
    Node,
    Quotient,
    Relation,
    Sum,
    negate,
)

_HOLDS = {
    "<": lambda difference: difference < 0,
    "≤": lambda difference: difference <= 0,
    ">": lambda difference: difference > 0,
    "≥": lambda difference: difference >= 0,
    "=": lambda difference: difference == 0,
    "≠": lambda difference: difference != 0,
}


_MISSING = 3
"""At how many points an answer may have no value where the reference has one: holes, not a case that it leaves out."""


class NotPiecewiseError(ValueError):
    """An answer is not a function of numbers, or a condition cannot be tested."""


@dataclass(frozen=True, slots=True)
class _Branch:
    value: Node
    condition: Node | None


def is_piecewise(node: Node) -> bool:
    """Return whether a node is a list of values under conditions."""
    return isinstance(node, Listing) and all(isinstance(item, Conditional) for item in node.items)


def same_function(reference: Node, answer: Node, budget: Budget, domains: Domains) -> Finding:
    """Compare two functions of which one at least is given case by case.

    Raises:
        NotPiecewiseError: One of them is not a function, or a condition cannot be tested.
    """
    left, right = _branches(reference), _branches(answer)
    values = [branch.value for branch in (*left, *right)]
    conditions = [branch.condition for branch in (*left, *right) if branch.condition is not None]
    borders = [border for condition in conditions for border in _borders(condition)]
    names = sorted({name for node in (*values, *borders) for name in names_in(node)})
    whole = {name: INTEGERS for border in borders if border.function == "mod" for name in names_in(border)}
    domains = {**whole, **domains}
    complex_values = any(map(is_complex, values))
    agreed = missing = 0
    for point in points(names, with_index_letters(domains, *values), (*values, *borders), budget):
        chosen = [_chosen(branches, point, budget) for branches in (left, right)]
        if chosen[0] is None and chosen[1] is None:
            continue
        if chosen[0] is None or chosen[1] is None:
            if not _has_value(chosen[0] or chosen[1], point, budget):
                continue  # |x|/x at zero
            return Finding(False, "cases", "only one side has a case there", described(point))
        try:
            equal, *pair = agree_at(chosen[0], chosen[1], point, budget, complex_values)
        except (UndefinedError, UndecidedError, OverflowError):
            missing += only_first_is_defined(chosen[0], chosen[1], point, budget)
            if missing >= _MISSING:
                return Finding(False, "cases", "the answer has no value there", described(point))
            continue
        if not equal:
            return Finding(False, "cases", "the functions differ", described(point, *pair))
        agreed += 1
    if agreed < len(values):
        return Finding(False, "undecided", "the functions could not be compared at enough points")
    return Finding(True, "cases")


def _has_value(node: Node | None, point: Point, budget: Budget) -> bool:
    if node is None:
        return False
    try:
        Evaluator(POINT_PRECISION, point, budget).value(node)
    except UndefinedError:
        return False
    except (UndecidedError, OverflowError):
        return True
    return True


def _branches(node: Node) -> list[_Branch]:
    items = node.items if isinstance(node, Listing) else (node,)
    found = []
    for item in items:
        branch = _Branch(item.value, item.condition) if isinstance(item, Conditional) else _Branch(item, None)
        if not isinstance(branch.value, SCALARS) or (branch.condition is None and item is not items[-1]):
            raise NotPiecewiseError
        found.append(branch)
    return found


def _borders(condition: Node) -> list[Call]:
    """Return what changes its form where a condition begins to hold: the larger one of its two sides."""
    match condition:
        case Relation(operands=operands, operators=operators) if set(operators) <= set(_HOLDS):
            if all(isinstance(operand, SCALARS) for operand in operands):
                return [Call("max", pair) for pair in itertools.pairwise(operands)]
        case Congruence(left=left, modulus=modulus) if isinstance(left, SCALARS):
            return [Call("mod", (left, modulus))]
        case Listing(items=items):
            return [border for item in items for border in _borders(item)]
    raise NotPiecewiseError


def _chosen(branches: list[_Branch], point: Point, budget: Budget) -> Node | None:
    for branch in branches:
        if branch.condition is None or _holds(branch.condition, point, budget):
            return branch.value
    return None


def _holds(condition: Node, point: Point, budget: Budget) -> bool:
    match condition:
        case Listing(items=items, joiner=joiner):
            held = [_holds(item, point, budget) for item in items]
            return any(held) if joiner == "or" else all(held)
        case Relation(operands=operands, operators=operators):
            return all(
                _HOLDS[operator](_value(Sum((left, negate(right))), point, budget))
                for left, operator, right in zip(operands, operators, operands[1:], strict=False)
            )
        case Congruence(left=left, right=right, modulus=modulus):
            turns = _value(Quotient(Sum((left, negate(right))), modulus), point, budget)
            return isinstance(turns, Fraction) and turns.denominator == 1
    raise NotPiecewiseError


def _value(node: Node, point: Point, budget: Budget) -> Fraction | Any:
    try:
        return rational(node, budget, point)
    except NotExactError:
        pass
    except UndefinedError as error:
        raise NotPiecewiseError from error
    try:
        return Evaluator(POINT_PRECISION, point, budget).value(node)
    except (UndefinedError, UndecidedError, OverflowError) as error:
        raise NotPiecewiseError from error
