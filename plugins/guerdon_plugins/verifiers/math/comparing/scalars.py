"""Whether two expressions have the same value: exactly where possible, else to many digits at many points."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.complex_letters import complex_letters, in_real_parts
from guerdon_plugins.verifiers.math.comparing.critical import Point
from guerdon_plugins.verifiers.math.comparing.domains import Domains, with_index_letters
from guerdon_plugins.verifiers.math.comparing.exact import Field, NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import (
    MAX_PRECISION,
    Evaluator,
    UndecidedError,
    context,
    is_complex,
    magnitude,
    names_in,
)
from guerdon_plugins.verifiers.math.comparing.points import points, real_points
from guerdon_plugins.verifiers.math.comparing.proofs import proves_equal
from guerdon_plugins.verifiers.math.comparing.trees import covers_both_signs, has_exponential, with_gamma
from guerdon_plugins.verifiers.math.nodes import Node, Sum, Symbol

PRECISION = 266
"""Bits of a comparison of closed forms: 80 digits."""
POINT_PRECISION = 160
MAX_POINT_PRECISION = 1_500
"""Bits at one of many points; where more are needed, as far out on an exponential, other points decide."""
TRUSTED = 100
"""Bits that must be left after losses, and on which equal values must agree."""
MIN_POINTS = 2
"""At which two functions must agree, and differ nowhere, to be equal."""
EVERYWHERE: Domains = {}
"""No letter was declared."""


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


def same_value(reference: Node, answer: Node, budget: Budget, domains: Domains = EVERYWHERE) -> Finding:
    """Compare two scalar expressions for equality everywhere that both are defined, within the letters' domains.

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
    if "Gamma" in names_in(reference) | names_in(answer):
        left, right = (with_gamma(node) for node in (reference, answer))
        if (left, right) != (reference, answer):
            return same_value(left, right, budget, domains)
    if complex_names := complex_letters(reference, answer):
        reference, answer = (in_real_parts(node, complex_names) for node in (reference, answer))
        return _compare_at_points(
            reference, answer, sorted(names_in(reference) | names_in(answer)), budget, domains
        )
    try:
        finding = _compare_in_fields(reference, answer, budget)
        if finding or not domains:
            return finding
    except UndefinedError as error:
        return Finding(False, "modular", f"it has no value: {error}")
    except NotExactError:
        pass
    if key(reference) == key(answer):
        return Finding(True, "structure")
    reference, answer = _without_shared_letters(reference, answer)
    names = sorted(names_in(reference) | names_in(answer))
    if names:
        return _compare_at_points(reference, answer, names, budget, domains)
    try:
        return _compare_closed_forms(reference, answer, budget)
    except UndefinedError as error:
        return Finding(False, "closed form", f"it has no value: {error}")
    except (UndecidedError, OverflowError):
        return _prove(reference, answer, domains, "the values are too large to compare")


def _without_shared_letters(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Two sums without the letters that both add, such as ``C``: each letter less is a quarter of the points."""
    if not isinstance(reference, Sum) or not isinstance(answer, Sum):
        return reference, answer
    left, right = list(reference.terms), list(answer.terms)
    for term in reference.terms:
        if isinstance(term, Symbol) and term in right and len(left) > 1 and len(right) > 1:
            left.remove(term)
            right.remove(term)
    return Sum(tuple(left)), Sum(tuple(right))


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
    """Return a point where two expressions differ, with their values; empty if none is found quickly."""
    names = sorted(names_in(reference) | names_in(answer))
    small = ({name: Fraction(index + shift) for index, name in enumerate(names)} for shift in (2, 3, 7))
    for point in (*small, *real_points(names)):
        try:
            left, right = (_evaluate(node, point, 60, budget) for node in (reference, answer))
        except (ArithmeticError, KeyError):
            continue
        if abs(left - right) > abs(left + right) / 2**40:
            return described(point, left, right)
    return ""


def _evaluate(node: Node, point: Point, precision: int, budget: Budget) -> Any:
    return Evaluator(precision, point, budget, complex_values=is_complex(node)).value(node)


def described(point: Point, left: Any = None, right: Any = None) -> str:
    """Return a point, and the values of both sides there, for a person."""
    where = ", ".join(f"{name} = {value}" for name, value in point.items())
    if left is None or right is None:
        return f"at {where}"
    values = " against ".join(
        shown(value) if isinstance(value, Fraction) else str(context(60).nstr(value, 10))
        for value in (right, left)
    )
    return f"at {where}: {values}" if where else values


def shown(value: Fraction) -> str:
    """Return a rational for a person's eyes, shortened if it is long."""
    if value.numerator.bit_length() + value.denominator.bit_length() < 120:
        return str(value)
    ctx = context(60)
    return str(ctx.nstr(ctx.mpf(value.numerator) / value.denominator, 12))


def _compare_closed_forms(reference: Node, answer: Node, budget: Budget) -> Finding:
    complex_values = is_complex(reference) or is_complex(answer)
    try:
        equal, left, right = _agree(reference, answer, {}, PRECISION, budget, complex_values)
    except UndefinedError:  # a root of a negative number
        complex_values = True
        equal, left, right = _agree(reference, answer, {}, PRECISION, budget, complex_values)
    if equal and any(map(has_exponential, (reference, answer))):  # tanh(100) and tanh(101) agree to 86 digits
        equal, left, right = _agree(reference, answer, {}, 2 * MAX_POINT_PRECISION, budget, complex_values)
    if equal:
        return Finding(True, "closed form")
    return Finding(False, "closed form", "the values differ", described({}, left, right))


def _compare_at_points(
    reference: Node, answer: Node, names: list[str], budget: Budget, domains: Domains
) -> Finding:
    domains = with_index_letters(domains, reference, answer)
    minds_sides = covers_both_signs(reference)
    complex_values = is_complex(reference) or is_complex(answer)
    agreed = 0
    for point in points(names, domains, (reference, answer), budget):
        try:
            equal, left, right = agree_at(reference, answer, point, budget, complex_values)
        except (UndefinedError, UndecidedError, OverflowError):
            if minds_sides and only_first_is_defined(reference, answer, point, budget):
                return Finding(False, "points", "the answer has no value there", described(point))
            continue
        if not equal:
            return Finding(False, "points", "the expressions differ", described(point, left, right))
        agreed += 1
    if agreed >= MIN_POINTS:
        return Finding(True, "points")
    return _prove(reference, answer, domains, "the expressions could not be compared at enough points")


def only_first_is_defined(reference: Node, answer: Node, point: Point, budget: Budget) -> bool:
    r"""Return whether an answer leaves out a side that the reference covers: ``\ln x`` for ``\ln|x|``."""
    try:
        _evaluate(answer, point, POINT_PRECISION, budget)
    except UndefinedError:
        pass
    except (ArithmeticError, KeyError):
        return False
    else:
        return False
    try:
        _evaluate(reference, point, POINT_PRECISION, budget)
    except (ArithmeticError, KeyError):
        return False
    return True


def agree_at(
    reference: Node, answer: Node, point: Point, budget: Budget, complex_values: bool
) -> tuple[bool, Any, Any]:
    """Whether two values agree at a point, with the values; by fractions where both are rational there.

    Raises:
        UndefinedError: One of them has no value.
        UndecidedError: More digits cancel than are computed.
    """
    try:
        left, right = (rational(node, budget, point) for node in (reference, answer))
    except NotExactError:
        return _agree(reference, answer, point, POINT_PRECISION, budget, complex_values)
    return left == right, left, right


def _prove(reference: Node, answer: Node, domains: Domains, reason: str) -> Finding:
    """Return what sympy can show where values do not decide; what stays undecided is not equal."""
    if proves_equal(reference, answer, domains):
        return Finding(True, "proof")
    return Finding(False, "undecided", reason)


def _agree(
    reference: Node, answer: Node, point: Point, precision: int, budget: Budget, complex_values: bool
) -> tuple[bool, Any, Any]:
    """Whether two values agree, computed again with more digits until enough of them can be trusted."""
    confirmed = False
    while True:
        evaluators = [Evaluator(precision, point, budget, complex_values=complex_values) for _ in range(2)]
        left, right = evaluators[0].value(reference), evaluators[1].value(answer)
        lost = max(evaluator.lost for evaluator in evaluators)
        span = max(evaluator.span for evaluator in evaluators)
        trusted = precision - lost
        if trusted < span + TRUSTED:
            precision = lost + span + 2 * TRUSTED
            if precision > (MAX_POINT_PRECISION if point else MAX_PRECISION):
                raise UndecidedError("too many digits cancel")
            continue
        difference = left - right
        if bool(left) != bool(
            right
        ):  # 1 - tanh(1000) and (1 - cos x)/x near zero are zero for want of digits
            enough = 2 * TRUSTED + 3 * abs(magnitude(difference))
            if enough > (MAX_POINT_PRECISION if point else MAX_PRECISION):
                raise UndecidedError("too many digits cancel")
            if precision < enough:
                precision = enough
                continue
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
