"""Whether two expressions have the same value: exactly where possible, else to many digits at many points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.canonical import key
from guerdon_plugins.verifiers.math.exact import Field, NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.nodes import Node
from guerdon_plugins.verifiers.math.numeric import (
    MAX_PRECISION,
    Evaluator,
    UndecidedError,
    context,
    is_complex,
    magnitude,
    names_in,
)

PRECISION = 266
"""Bits of a comparison of closed forms: 80 digits."""
POINT_PRECISION = 160
TRUSTED = 100
"""Bits that must be left after losses, and on which equal values must agree."""
MIN_POINTS = 2

Point = dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a comparison of two nodes found."""

    equal: bool
    tier: str
    """The step that decided: ``text``, ``exact``, ``modular``, ``structure``, ``closed form``, ``points``, …"""
    reason: str = ""
    """Why they differ, in words."""
    witness: str = ""
    """Where they differ."""

    def __bool__(self) -> bool:
        return self.equal


def same_value(reference: Node, answer: Node, budget: Budget) -> Finding:
    """Compare two scalar expressions for equality everywhere that both are defined.

    Raises:
        TooLargeError: The budget is spent.
    """
    if reference == answer:
        return Finding(True, "structure")
    try:
        return _compare_rationals(reference, answer, budget)
    except UndefinedError as error:
        return Finding(False, "exact", f"it has no value: {error}")
    except NotExactError:
        pass
    try:
        return _compare_in_fields(reference, answer, budget)
    except UndefinedError as error:
        return Finding(False, "modular", f"it has no value: {error}")
    except NotExactError:
        pass
    if key(reference) == key(answer):
        return Finding(True, "structure")
    names = sorted(names_in(reference) | names_in(answer))
    if names:
        return _compare_at_points(reference, answer, names, budget)
    try:
        return _compare_closed_forms(reference, answer, budget)
    except UndefinedError as error:
        return Finding(False, "closed form", f"it has no value: {error}")
    except (UndecidedError, OverflowError):
        return Finding(False, "closed form", "the values are too large to compare")


def _compare_rationals(reference: Node, answer: Node, budget: Budget) -> Finding:
    left, right = rational(reference, budget), rational(answer, budget)
    if left == right:
        return Finding(True, "exact")
    return Finding(False, "exact", f"{shown(right)} is not {shown(left)}")


def _compare_in_fields(reference: Node, answer: Node, budget: Budget) -> Finding:
    for index in (0, 1):
        field = Field(index, "value", budget)
        n1, d1 = field.fraction(reference)
        n2, d2 = field.fraction(answer)
        if not d1 or not d2:
            raise UndefinedError("a division by zero")
        if (n1 * d2 - n2 * d1) % field.prime:
            return Finding(False, "modular", "the expressions differ", _witness(reference, answer, budget))
    return Finding(True, "modular")


def _witness(reference: Node, answer: Node, budget: Budget) -> str:
    """A point where two expressions differ, with their values; empty if none is found quickly."""
    names = sorted(names_in(reference) | names_in(answer))
    for point in ({name: Fraction(index + 2) for index, name in enumerate(names)},):
        try:
            values = [_evaluate(node, point, 60, budget) for node in (reference, answer)]
        except (ArithmeticError, KeyError):
            return ""
        return _describe(point, *values)
    return ""


def _evaluate(node: Node, point: Point, precision: int, budget: Budget) -> Any:
    return Evaluator(precision, point, budget, complex_values=is_complex(node)).value(node)


def _describe(point: Point, left: Any, right: Any) -> str:
    ctx = context(60)
    where = ", ".join(f"{name} = {value}" for name, value in point.items())
    values = f"{ctx.nstr(right, 10)} against {ctx.nstr(left, 10)}"
    return f"at {where}: {values}" if where else values


def shown(value: Fraction) -> str:
    """A rational for a person's eyes, shortened if it is long."""
    if value.numerator.bit_length() + value.denominator.bit_length() < 120:
        return str(value)
    ctx = context(60)
    return str(ctx.nstr(ctx.mpf(value.numerator) / value.denominator, 12))


def _compare_closed_forms(reference: Node, answer: Node, budget: Budget) -> Finding:
    equal, left, right = _agree(reference, answer, {}, PRECISION, budget)
    if equal:
        return Finding(True, "closed form")
    return Finding(False, "closed form", "the values differ", _describe({}, left, right))


def _compare_at_points(reference: Node, answer: Node, names: list[str], budget: Budget) -> Finding:
    agreed = 0
    for integers, points in ((False, real_points(names)), (True, _whole_points(names))):
        if integers and agreed >= MIN_POINTS:
            break
        for point in points:
            try:
                equal, left, right = _agree(reference, answer, point, POINT_PRECISION, budget)
            except (UndefinedError, UndecidedError, OverflowError):
                continue
            if not equal:
                return Finding(False, "points", "the expressions differ", _describe(point, left, right))
            agreed += 1
    if agreed >= MIN_POINTS:
        return Finding(True, "points")
    return Finding(False, "points", "the expressions could not be compared at enough points")


def _agree(
    reference: Node, answer: Node, point: Point, precision: int, budget: Budget
) -> tuple[bool, Any, Any]:
    """Whether two values agree, computed again with more digits until enough of them can be trusted."""
    complex_values = is_complex(reference) or is_complex(answer)
    confirmed = False
    while True:
        evaluators = [Evaluator(precision, point, budget, complex_values=complex_values) for _ in range(2)]
        left, right = evaluators[0].value(reference), evaluators[1].value(answer)
        lost = max(evaluator.lost for evaluator in evaluators)
        span = max(evaluator.span for evaluator in evaluators)
        trusted = precision - lost
        if trusted < span + TRUSTED:
            precision = lost + span + 2 * TRUSTED
            if precision > MAX_PRECISION:
                raise UndecidedError("too many digits cancel")
            continue
        difference = left - right
        if difference:
            size = max(magnitude(value) for value in (left, right) if value)
            if size - magnitude(difference) < trusted - 40:
                return False, left, right
        elif left or right or confirmed:
            return True, left, right
        if confirmed:
            return True, left, right
        if left and right:
            return True, left, right
        # A zero by cancellation: it must stay zero with twice the digits.
        confirmed = True
        precision *= 2


def real_points(names: list[str]) -> Iterator[Point]:
    """Two positive points and five of mixed signs."""
    for index in range(7):
        point: Point = {}
        for name in names:
            digest = blake2b(f"{index} {name}".encode(), digest_size=4).digest()
            drawn = int.from_bytes(digest, "big")
            sign = -1 if index >= 2 and (index == 2 or drawn & 1) else 1
            point[name] = Fraction(sign * (20 + (drawn >> 1) % 250), 101)
        yield point


def _whole_points(names: list[str]) -> Iterator[Point]:
    """Small whole numbers, in both orders: a binomial needs the larger one first."""
    for index in range(6):
        ordered = names if index % 2 else names[::-1]
        yield {name: Fraction(2 + index + (1 + index % 3) * place) for place, name in enumerate(ordered)}
