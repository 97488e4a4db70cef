"""Quantities and times of day in one form: units under other names, letters that are units, 24 hours."""

from __future__ import annotations

from collections import Counter

from guerdon_plugins.verifiers.math.nodes import (
    Clock,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sum,
    Symbol,
    Text,
    Unit,
)
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.unit_table import AMBIGUOUS

_MOLAR = Unit((("M", 1),))
_IN_A_LITER = Unit((("liter", -1), ("mol", 1)))
_FEN = Unit((("分", 1),))
"""Points, cents or minutes: the other side says which."""


_ARCS = {"footmark": "arcminute", "inchmark": "arcsecond"}


def aligned_quantities(reference: Node, answer: Node) -> tuple[Node, Node]:
    reference, answer = _as_concentration(reference, answer), _as_concentration(answer, reference)
    reference, answer = _in_meters(reference, answer), _in_meters(answer, reference)
    reference, answer = _without_radians(reference, answer), _without_radians(answer, reference)
    reference, answer = _as_arc(reference, answer), _as_arc(answer, reference)
    match reference, answer:
        case (Quantity(unit=left), Quantity(value=value, unit=right)) if units.same_noun(
            left, right
        ) or units.to_base(left) == units.to_base(right):
            return reference, Quantity(value, left)
        case (Quantity(unit=left), Quantity(value=value, unit=right)) if right == _FEN and _is_time(left):
            return reference, Quantity(value, Unit((("minute", 1),)))
        case (Quantity(), Product() | Quotient()) if (
            found := _with_bare_unit(answer, reference)
        ) is not None:
            return reference, found
        case (Product() | Quotient(), Quantity()) if (
            found := _with_bare_unit(reference, answer)
        ) is not None:
            return found, answer
        case (Quantity(unit=unit), _) if _is_ambiguous(unit) and not isinstance(answer, Quantity):
            return reference, Text(f"not in {unit}")
        case (_, Quantity(unit=unit)) if _is_ambiguous(unit) and not isinstance(reference, Quantity):
            return reference, Text(f"in {unit}")
    return reference, answer


def in_kelvins_of_change(node: Node) -> Node:
    """Return a change of a temperature in kelvins, which are not those above the absolute zero."""
    match node:
        case Relation(operands=(label, value), operators=operators):
            return Relation((label, in_kelvins_of_change(value)), operators)
        case Quantity(value=value, unit=Unit(powers=((name, 1),))) if name in units.DIFFERENCES:
            return Quantity(Product((Number(units.DIFFERENCES[name]), value)), Unit((("K", 1),)))
    return node


def in_one_unit(node: Node, other: Node) -> Node:
    r"""Return ``(3\text{ m})\hat i + (4\text{ m})\hat j`` as a sum in meters; every other node as it is.

    Against a quantity, letters after a number may be its unit.
    """
    if not isinstance(node, Sum):
        return node
    terms: list[Node] = []
    found: set[Unit] = set()
    for term in node.terms:
        factors = term.factors if isinstance(term, Product) else ()
        if isinstance(other, Quantity):
            factors = tuple(
                (_with_bare_unit(factor, other) or factor) if isinstance(factor, Product) else factor
                for factor in factors
            )
        quantities = [factor for factor in factors if isinstance(factor, Quantity)]
        if len(quantities) != 1:
            return node
        found.add(quantities[0].unit)
        terms.append(
            Product(tuple(factor.value if isinstance(factor, Quantity) else factor for factor in factors))
        )
    return Quantity(Sum(tuple(terms)), found.pop()) if len(found) == 1 else node


def _as_concentration(node: Node, other: Node) -> Node:
    """Read ``0.25 M`` against moles in a volume as moles in a liter."""
    if not isinstance(node, Quantity) or not isinstance(other, Quantity) or node.unit != _MOLAR:
        return node
    equal = units.to_base(_IN_A_LITER)[0] == units.to_base(other.unit)[0]
    return Quantity(node.value, _IN_A_LITER) if equal else node


def _in_meters(node: Node, other: Node) -> Node:
    r"""Read ``ms^{-1}`` as meters per second against such a unit: together they are milliseconds."""
    if not isinstance(node, Quantity) or not isinstance(other, Quantity):
        return node
    powers = Counter(dict(node.unit.powers))
    if powers["ms"] >= 0 or units.to_base(node.unit)[0] == units.to_base(other.unit)[0]:
        return node
    powers["second"] += powers.pop("ms")
    powers["m"] += 1
    unit = units.make_unit(powers)
    return Quantity(node.value, unit) if units.to_base(unit)[0] == units.to_base(other.unit)[0] else node


def _as_arc(node: Node, other: Node) -> Node:
    """Read ``48''`` against an angle as seconds of arc; alone the marks are those of inches."""
    match node, other:
        case Quantity(value=value, unit=Unit(powers=((name, 1),))), Quantity(unit=unit) if name in _ARCS:
            arc = Unit(((_ARCS[name], 1),))
            return Quantity(value, arc) if units.to_base(arc)[0] == units.to_base(unit)[0] else node
    return node


def _without_radians(node: Node, other: Node) -> Node:
    """Read ``rad/s`` as ``1/s`` against such a unit; against hertz, which count turns, radians count."""
    if not isinstance(node, Quantity) or not isinstance(other, Quantity):
        return node
    powers = dict(node.unit.powers)
    others = dict(other.unit.powers)
    if "radian" not in powers or "radian" in others or any(name.endswith("Hz") for name in others):
        return node
    unit = Unit(tuple((name, power) for name, power in node.unit.powers if name != "radian"))
    return Quantity(node.value, unit) if unit.powers else node


def _is_time(unit: Unit) -> bool:
    return units.to_base(unit)[0] == units.to_base(Unit((("hour", 1),)))[0]


def _with_bare_unit(node: Node, other: Quantity) -> Quantity | None:
    """Read ``3600 J`` against a quantity in joules as a quantity: letters that would be variables elsewhere."""
    rest, letters = _letters_at_the_end(node)
    if not rest or not letters:
        return None
    if letters == [("M", 1)] and units.to_base(_IN_A_LITER)[0] == units.to_base(other.unit)[0]:
        return Quantity(rest[0] if len(rest) == 1 else Product(tuple(rest)), _IN_A_LITER)
    spellings = [" ".join(f"{name}^{power}" for name, power in letters)]
    names = "".join(name for name, _ in letters)
    if units.is_name(names) and all(power == 1 for _, power in letters[:-1]):
        spellings.append(f"{names}^{letters[-1][1]}")
    for unit in map(units.read_unit, spellings):
        if unit is not None and units.to_base(unit)[0] == units.to_base(other.unit)[0]:
            return Quantity(rest[0] if len(rest) == 1 else Product(tuple(rest)), unit)
    return None


def _letters_at_the_end(node: Node) -> tuple[list[Node], list[tuple[str, int]]]:
    """Return the factors of a product or a fraction before its last letters, and these letters with their powers."""
    match node:
        case Quotient(numerator=above, denominator=below):
            rest, letters = _letters_at_the_end(above)
            divisor, others = _letters_at_the_end(below)
            return ([], []) if divisor else (rest, letters + [(name, -power) for name, power in others])
        case Product(factors=(*factors, Quotient() as rate)):  # 9.81 \\frac{m}{s^2}
            rest, letters = _letters_at_the_end(rate)
            return (factors, letters) if not rest else ([], [])
        case Product(factors=factors):
            rest = list(factors)
        case _:
            rest = [node]
    letters = []
    while rest and (found := _letter_with_power(rest[-1])):
        letters.insert(0, found)
        rest.pop()
    return rest, letters


def _letter_with_power(node: Node) -> tuple[str, int] | None:
    match node:
        case Symbol(name=name):
            return name, 1
        case Power(base=Symbol(name=name), exponent=Number(value=power)) if (
            power.denominator == 1 and abs(power) < 10
        ):
            return name, int(power)
    return None


def _is_ambiguous(unit: Unit) -> bool:
    return any(name in AMBIGUOUS for name, _ in unit.powers)


def in_24_hours(reference: Clock, answer: Clock) -> tuple[Node, Node]:
    """Read ``2:30 PM`` as 14:30; a time before noon without AM or PM may be either."""
    left, right = (_on_24_hours(clock) for clock in (reference, answer))
    bare = next((clock for clock in (reference, answer) if not clock.half), None)
    if bare is not None and 1 <= bare.hour <= 12 and (reference.half or answer.half):
        return reference, answer
    return left, right


def _on_24_hours(clock: Clock) -> Clock:
    hour = clock.hour
    if clock.half == "am" and hour == 12:
        hour = 0
    elif clock.half == "pm" and hour < 12:
        hour += 12
    return Clock(hour, clock.minute, "", clock.second)
