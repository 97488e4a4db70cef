"""Answers of one value with a form of its own: times of day, quantities with units, ratios, congruences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.exact import rational
from guerdon_plugins.verifiers.math.comparing.forms import ratio_parts, without_factor
from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.nodes import (
    MINUS_ONE,
    Clock,
    Congruence,
    Constant,
    Node,
    Number,
    Product,
    Quantity,
    Quotient,
    Ratio,
    Sum,
    Text,
    Unit,
    integer,
)
from guerdon_plugins.verifiers.math.policy import Policy
from guerdon_plugins.verifiers.math.reading import units

DEGREE = Constant("degree")
_RADIAN = Unit((("radian", 1),))
_TEMPERATURES = (Unit((("celsius", 1),)), Unit((("fahrenheit", 1),)))
"""Their ``\\circ`` may lack its letter."""
_KELVIN = Unit((("K", 1),))
_FREEZING = Fraction(27315, 100)
"""Zero degrees Celsius in kelvins."""
_ZERO_FAHRENHEIT = Fraction(45967, 100)
"""Zero degrees Fahrenheit in fahrenheits above the absolute zero."""

Same = Callable[[Node, Node], Finding]


class MeasureComparer:
    """Compares measures; the values inside them by a given comparison."""

    def __init__(self, policy: Policy, budget: Budget, same: Same) -> None:
        self._policy = policy
        self._budget = budget
        self._same = same

    def clocks(self, reference: Node, answer: Node) -> Finding:
        """Compare times of day; one against something else may be a ratio."""
        reference, answer = _as_clock(reference, answer), _as_clock(answer, reference)
        if isinstance(reference, Clock) and isinstance(answer, Clock):
            halves = {reference.half, answer.half} - {""}
            shown = len({(clock.hour, clock.minute, clock.second) for clock in (reference, answer)}) == 1
            shown = shown and len(halves) < 2
            times = {_seconds(reference), _seconds(answer)}
            equal = shown or (len(times) == 1 and None not in times)
            return Finding(equal, "clock", "" if equal else "the times differ")
        if isinstance(reference, Quantity) or isinstance(answer, Quantity):
            return self._durations(reference, answer)
        left, right = (
            Ratio((integer(node.hour), integer(node.minute)))
            if isinstance(node, Clock) and not node.second
            else node
            for node in (reference, answer)
        )
        return self.ratios(left, right)

    def _durations(self, reference: Node, answer: Node) -> Finding:
        """Compare ``3时20分``, which may be a time of day, with a duration."""
        if any(isinstance(node, Clock) and node.half for node in (reference, answer)):
            return Finding(False, "clock", "a time of day is not a duration")
        left, right = (
            Quantity(integer(3600 * node.hour + 60 * node.minute + node.second), Unit((("second", 1),)))
            if isinstance(node, Clock)
            else node
            for node in (reference, answer)
        )
        return self.quantities(left, right)

    def quantities(self, reference: Node, answer: Node) -> Finding:
        """Compare values with units; a unit counts where both sides have one."""
        if self._policy.units != "ignore":
            if without_factor(reference, DEGREE) and _is_temperature(answer):
                return Finding(False, "units", "the reference is an angle, and the answer a temperature")
            reference, answer = (
                _with_degrees(node, other) for node, other in ((reference, answer), (answer, reference))
            )
        left, right = (node.value if isinstance(node, Quantity) else node for node in (reference, answer))
        if not isinstance(reference, Quantity) or not isinstance(answer, Quantity):
            return self._same(left, right)
        differs = reference.unit != answer.unit and not units.same_noun(reference.unit, answer.unit)
        if self._policy.units != "ignore" and differs:
            kelvins = _in_kelvins(reference), _in_kelvins(answer)
            if self._policy.units == "convert" and kelvins[0] is not None and kelvins[1] is not None:
                return self._same(kelvins[0], kelvins[1])
            bases = [units.to_base(node.unit) for node in (reference, answer)]
            if self._policy.units == "compare" or bases[0][0] != bases[1][0]:
                return Finding(False, "units", f"the unit is {answer.unit}, not {reference.unit}")
            left, right = Product((Number(bases[0][1]), left)), Product((Number(bases[1][1]), right))
        return self._same(left, right)

    def congruences(self, reference: Congruence, answer: Congruence) -> Finding:
        """Compare residue classes: the same modulus, and residues that differ by a multiple of it."""
        finding = self._same(reference.modulus, answer.modulus)
        if not finding:
            return finding
        if Text("") not in (reference.left, answer.left) and key(reference.left) != key(answer.left):
            return Finding(False, "congruence", "it is about something else")
        difference = Quotient(Sum((reference.right, Product((MINUS_ONE, answer.right)))), answer.modulus)
        if isinstance(reference.right, Number) and isinstance(answer.right, Number):
            try:
                whole = rational(difference, self._budget).denominator == 1
            except ArithmeticError:
                whole = False
            return Finding(whole, "congruence", "" if whole else "the residues differ")
        return self._same(reference.right, answer.right)

    def ratios(self, reference: Node, answer: Node) -> Finding:
        """Compare ratios by cross products of neighbouring parts. 5 is a number, and not 5 : 1."""
        if isinstance(reference, Number) and reference.value.denominator == 1:
            return Finding(False, "ratio", "the reference is a number, and the answer a ratio")
        left, right = (ratio_parts(node) for node in (reference, answer))
        if left is None or right is None or len(left) != len(right):
            return Finding(False, "ratio", "the ratios differ")
        zero = integer(0)
        for (a, c), (b, d) in zip(itertools.pairwise(left), itertools.pairwise(right), strict=True):
            if zero in (a, b, c, d) or not self._same(Product((a, d)), Product((b, c))):
                return Finding(False, "ratio", "the ratios differ")
        return Finding(True, "ratio")


def _as_clock(node: Node, other: Node) -> Node:
    """Read ``9:03:36`` against a time of day with seconds as one."""
    match node, other:
        case (
            Ratio(parts=(Number(value=hour), Number(value=minute), Number(value=second))),
            Clock(second=seconds),
        ) if seconds:
            if hour in range(24) and minute in range(60) and second in range(60):
                return Clock(int(hour), int(minute), "", int(second))
    return node


def _seconds(clock: Clock) -> int | None:
    """Return seconds since midnight; ``None`` where an hour up to 12 may be before or after noon."""
    if not clock.half and 1 <= clock.hour <= 12:
        return None
    hour = clock.hour % 12 + 12 * (clock.half == "pm") if clock.half else clock.hour
    return 3600 * hour + 60 * clock.minute + clock.second


def _is_temperature(node: Node) -> bool:
    return isinstance(node, Quantity) and node.unit in _TEMPERATURES


def _in_kelvins(node: Quantity) -> Node | None:
    """Return an absolute temperature in kelvins; ``None`` for another quantity."""
    match node.unit.powers:
        case (("celsius", 1),):
            return Sum((node.value, Number(_FREEZING)))
        case (("fahrenheit", 1),):
            return Product((Number(Fraction(5, 9)), Sum((node.value, Number(_ZERO_FAHRENHEIT)))))
    base, factor = units.to_base(node.unit)
    return Product((Number(factor), node.value)) if base == _KELVIN else None


def _with_degrees(node: Node, other: Node) -> Node:
    """Return an angle in degrees with its unit, against a quantity: of radians a degree is pi/180, of others none."""
    degrees = without_factor(node, DEGREE)
    if degrees is None or not isinstance(other, Quantity) or other.unit in _TEMPERATURES:
        return node
    if other.unit == _RADIAN:
        return Quantity(Product((degrees, Quotient(Constant("pi"), integer(180)))), _RADIAN)
    return Quantity(degrees, Unit((("degree", 1),)))
