"""A reference and an answer in one form, where one form has several ways to write it."""

from __future__ import annotations

from collections.abc import Sequence as Many
from itertools import permutations

from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Clock,
    Date,
    Listing,
    Node,
    Product,
    Quantity,
    Ratio,
    Relation,
    Sequence,
    SetOperation,
    Span,
    Symbol,
    Text,
    Unit,
)
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.unit_table import AMBIGUOUS

_MAX_CONSTANTS = 3


def aligned(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Both nodes, the answer rewritten in the reference's form if it says the same in another one."""
    match reference, answer:
        case Clock(), Clock():
            return _in_24_hours(reference, answer)
        case Date(), Date():
            year = answer.year if reference.year and answer.year else reference.year
            return reference, Date(year, answer.month, answer.day)
        case (Span(parts=parts), Ratio()):
            return Ratio(parts), answer
        case (Ratio(), Span(parts=parts)):
            return reference, Ratio(parts)
        case (Quantity(), _) | (_, Quantity()):
            return _aligned_quantities(reference, answer)
        case (SetOperation(operator="union" | "intersection"), SetOperation()):
            return _in_order(reference), _in_order(answer)
        case (Product(factors=(Symbol(name=name), Sequence() as point)), Sequence()) if name.isupper():
            return point, answer
        case (Sequence(), Product(factors=(Symbol(name=name), Sequence() as point))) if name.isupper():
            return reference, point
        case Relation(), Relation():
            return reference, _with_renamed_constants(reference, answer)
        case Listing(), Listing():
            return _without_numbers(reference), _without_numbers(answer)
    if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
        return (
            _binomial(reference, answer),
            _with_renamed_constants(reference, _binomial(answer, reference)),
        )
    return reference, answer


def _aligned_quantities(reference: Node, answer: Node) -> tuple[Node, Node]:
    match reference, answer:
        case (Quantity(unit=left), Quantity(value=value, unit=right)) if units.same_noun(
            left, right
        ) or units.to_base(left) == units.to_base(right):
            return reference, Quantity(value, left)
        case (Quantity(), Product()) if (found := _with_bare_unit(answer, reference)) is not None:
            return reference, found
        case (Product(), Quantity()) if (found := _with_bare_unit(reference, answer)) is not None:
            return found, answer
        case (Quantity(unit=unit), _) if _is_ambiguous(unit) and not isinstance(answer, Quantity):
            return reference, Text(f"not in {unit}")
        case (_, Quantity(unit=unit)) if _is_ambiguous(unit) and not isinstance(reference, Quantity):
            return reference, Text(f"in {unit}")
    return reference, answer


def _with_bare_unit(node: Product, beside: Quantity) -> Quantity | None:
    """``3600 J`` beside a quantity in joules as a quantity: letters that would be variables elsewhere."""
    start = len(node.factors)
    while start > 1 and isinstance(node.factors[start - 1], Symbol):
        start -= 1
    word = "".join(factor.name for factor in node.factors[start:] if isinstance(factor, Symbol))
    unit = units.read_unit(word) if units.is_name(word) else None
    if unit is None or units.to_base(unit)[0] != units.to_base(beside.unit)[0]:
        return None
    rest = node.factors[:start]
    return Quantity(rest[0] if len(rest) == 1 else Product(rest), unit)


def _is_ambiguous(unit: Unit) -> bool:
    return any(name in AMBIGUOUS for name, _ in unit.powers)


def _in_24_hours(reference: Clock, answer: Clock) -> tuple[Node, Node]:
    """``2:30 PM`` as 14:30; a time before noon without AM or PM may be either."""
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
    return Clock(hour, clock.minute, "")


def _in_order(node: SetOperation) -> Node:
    """A union or an intersection of names in the order of the alphabet."""
    if all(isinstance(operand, Symbol) for operand in node.operands):
        return SetOperation(node.operator, tuple(sorted(node.operands, key=repr)))
    return node


def _binomial(node: Node, other: Node) -> Node:
    """``C(5, 2)`` beside a number as the binomial; beside a point it is the point C."""
    match node:
        case Product(factors=(Symbol(name="C"), Sequence(items=(count, chosen), left="(", right=")"))):
            return node if isinstance(other, Product) and node == other else Call("binom", (count, chosen))
    return node


def _without_numbers(node: Listing) -> Listing:
    """``x_1 = 1, x_2 = 2`` as ``x = 1, x = 2``: the numbers of solutions say nothing."""
    names = [_numbered_label(item) for item in node.items]
    stems = {name.split("_")[0] for name in names if name}
    if None in names or len(stems) != 1 or len(set(names)) < 2:
        return node
    label = Symbol(stems.pop())
    return Listing(
        tuple(
            Relation((label, *item.operands[1:]), item.operators)
            for item in node.items
            if isinstance(item, Relation)
        ),
        node.joiner,
    )


def _numbered_label(node: Node) -> str | None:
    match node:
        case Relation(operands=(Symbol(name=name), value), operators=("=" | "≈",)) if (
            name[-1:].isdigit() and name[1:2] == "_" and name[0] in "xzt" and not names_in(value)
        ):
            return name
    return None


def _with_renamed_constants(reference: Node, answer: Node) -> Node:
    """The answer with its constants of integration ``C_1``, ``C_2`` in the reference's order."""
    constants = _constants(reference)
    if not 2 <= len(constants) <= _MAX_CONSTANTS or constants != _constants(answer) or reference == answer:
        return answer
    parts = _parts(reference)
    for order in permutations(constants):
        renamed = _renamed(answer, constants, order)
        if _parts(renamed) == parts:
            return renamed
    return answer


def _constants(node: Node) -> list[str]:
    names = set().union(*(names_in(part) for part in _operands(node)))
    return sorted(name for name in names if name[:2] in ("C_", "c_") and name[2:].isdigit())


def _operands(node: Node) -> Many[Node]:
    return node.operands if isinstance(node, Relation) else (node,)


def _parts(node: Node) -> list[frozenset[str]]:
    """The terms of a sum, each by its text: enough to find which constant stands where."""
    return [frozenset(repr(term) for term in getattr(part, "terms", (part,))) for part in _operands(node)]


def _renamed(node: Node, constants: Many[str], order: Many[str]) -> Node:
    operands = []
    for operand in _operands(node):
        for name in constants:
            operand = substitute(operand, name, Symbol(f"{name}'"))
        for name, other in zip(constants, order, strict=True):
            operand = substitute(operand, f"{name}'", Symbol(other))
        operands.append(operand)
    return Relation(tuple(operands), node.operators) if isinstance(node, Relation) else operands[0]
