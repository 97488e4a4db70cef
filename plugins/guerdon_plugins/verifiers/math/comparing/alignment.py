"""A reference and an answer in one form, where one form has several ways to write it."""

from __future__ import annotations

from collections.abc import Sequence as Many
from itertools import permutations

from guerdon_plugins.verifiers.math.comparing.names import (
    coordinates,
    with_constant_of_integration,
    with_names_apart,
    with_the_same_index,
)
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Clock,
    Conditional,
    Constant,
    Date,
    Listing,
    Matrix,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetOf,
    SetOperation,
    Span,
    Sum,
    Symbol,
    Text,
    Unit,
    integer,
)
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.phrases import NO_REAL_SOLUTION
from guerdon_plugins.verifiers.math.reading.unit_table import AMBIGUOUS
from guerdon_plugins.verifiers.math.reading.vocabulary import MATRIX_GROUPS, ORDER

_INDEPENDENT = frozenset("xt")
_OF_INTEGRATION = frozenset(("C", "c", "C_0", "C_1", "c_1"))
_ONE_CONSTANT = _OF_INTEGRATION | frozenset("AKk")
_MAX_CONSTANTS = 3
_FEN = Unit((("分", 1),))
"""Points, cents or minutes: what it is beside says which."""
_POINT_NAMES = frozenset("ABCDEFGHIJKLMOPQRSTVWXYZ")
"""Capitals that name a point before its coordinates; ``N(0,1)`` and ``U(0,1)`` are distributions."""


def aligned(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Both nodes, the answer rewritten in the reference's form if it says the same in another one."""
    if not isinstance(reference, Number) and not isinstance(answer, Number):
        reference, answer = with_names_apart(reference, answer)
        answer = with_the_same_index(reference, answer)
    answer = _with_arbitrary_letter(reference, answer)
    if isinstance(reference, Relation) != isinstance(answer, Relation):
        reference, answer = _without_reals(reference), _without_reals(answer)
    reference, answer = _as_point(reference, answer), _as_point(answer, reference)
    answer = _with_argument(reference, answer)
    reference, answer = _unchained(reference, answer), _unchained(answer, reference)
    match reference, answer:
        case Clock(), Clock():
            return _in_24_hours(reference, answer)
        case Date(), Date():
            year = answer.year if reference.year and answer.year else reference.year
            return reference, Date(year, answer.month, answer.day)
        case (Span(parts=parts, or_ratio=True), Ratio()):
            return Ratio(parts), answer
        case (Ratio(), Span(parts=parts, or_ratio=True)):
            return reference, Ratio(parts)
        case (Quantity(), _) | (_, Quantity()):
            return _aligned_quantities(reference, answer)
        case (Conditional(value=Relation()), Listing()) | (Listing(), Conditional(value=Relation())):
            return _as_list(reference), _as_list(answer)
        case (Conditional(), Listing(items=(_, Relation(operators=("∈",))))) | (
            Listing(items=(_, Relation(operators=("∈",)))),
            Conditional(),
        ):
            return _as_list(reference), _as_list(answer)
        case (Conditional(), Listing(items=(_, Relation()))) | (
            Listing(items=(_, Relation())),
            Conditional(),
        ):
            return _with_condition(reference), _with_condition(answer)
        case (Text() as said, SetOf(items=())) if said == NO_REAL_SOLUTION:
            return reference, reference  # the reference says that numbers are real here
        case (Product(), Product()):
            return _matrix_group(_binomial(reference, answer)), _matrix_group(_binomial(answer, reference))
        case (Sequence(items=(_, _, _, *_), left="[", right="]"), Listing(items=items, joiner=",")):
            return reference, Sequence(items, "[", "]")
        case (Listing(items=items, joiner=","), Sequence(items=(_, _, _, *_), left="[", right="]")):
            return Sequence(items, "[", "]"), answer
        case (SetOperation(operator="union" | "intersection"), SetOperation()):
            return _in_order(reference), _in_order(answer)
        case (Product(factors=(Symbol(name=name), Sequence() as point)), Sequence()) if name in _POINT_NAMES:
            return point, answer
        case (Sequence(), Product(factors=(Symbol(name=name), Sequence() as point))) if name in _POINT_NAMES:
            return reference, point
        case Relation(), Relation():
            return reference, _with_renamed_constants(reference, answer)
        case Listing(), Listing():
            return _without_numbers(reference), _without_numbers(answer)
    if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
        return (
            _binomial(reference, answer),
            with_constant_of_integration(
                reference, _with_renamed_constants(reference, _binomial(answer, reference))
            ),
        )
    return reference, answer


def _as_point(node: Node, other: Node) -> Node:
    r"""Read ``2i - j + 3k`` beside a point or a column as (2, -1, 3)."""
    if not isinstance(node, Sum | Product | Symbol | Constant):
        return node
    if isinstance(node, Sum) and isinstance(other, Sum) and node != other:
        both = coordinates(node, 3), coordinates(other, 3)
        hats = any(
            isinstance(item, Symbol) and item.name.startswith("hat ")
            for side in (node, other)
            for item in walk(side)
        )
        return both[0] if hats and both[0] and both[1] else node
    other = label_and_body(other)[1]
    if not isinstance(other, Sequence | Matrix):
        return node
    size = len(other.items) if isinstance(other, Sequence) else len(other.rows)
    return coordinates(node, size) or node


def _with_arbitrary_letter(reference: Node, answer: Node) -> Node:
    """Return ``f(x) = cx`` with the letter that the reference calls an arbitrary constant: ``f(x) = ax``."""
    match reference:
        case Conditional(
            value=Relation(operators=("=",)) as said,
            condition=Relation(operands=(Symbol(name=wanted), NamedSet(name="R")), operators=("∈",)),
        ) if isinstance(answer, Relation) and answer.operators == ("=",):
            given = names_in(answer) - names_in(said)
            if len(given) == 1 and wanted in names_in(said) and wanted not in names_in(answer):
                renamed: Node = substitute(answer, given.pop(), Symbol(wanted))
                return renamed
    return answer


def _without_reals(node: Node) -> Node:
    r"""Return ``f(x) = cx`` without ``c \\in \\mathbb{R}``, "for any constant c": letters are real anyway."""
    match node:
        case (
            Conditional(value=Relation() as said, condition=Relation() as member)
            | Listing(items=(Relation() as said, Relation() as member))
        ) if member.operators == ("∈",) and member.operands[1] == NamedSet("R"):
            used = any(names_in(member) <= names_in(side) for side in said.operands[1:])
            return said if "=" in said.operators and used else node
    return node


def _with_argument(reference: Node, answer: Node) -> Node:
    """Return ``f(n) = n`` as ``f(x) = x`` where the reference calls the argument ``x``."""
    match reference, answer:
        case (
            Relation(operands=(Apply(name=name, arguments=(Symbol(name=wanted),)), _), operators=("=",)),
            Relation(operands=(Apply(name=other, arguments=(Symbol(name=given),)), body), operators=("=",)),
        ) if name == other and wanted != given and wanted.islower() and given.islower():
            if wanted not in names_in(body):
                renamed: Node = substitute(answer, given, Symbol(wanted))
                return renamed
    return answer


def _unchained(node: Node, other: Node) -> Node:
    """Read ``a = b = c = 1`` beside ``a = 1, b = 1, c = 1`` or ``(a, b, c) = (1, 1, 1)`` in its form."""
    match node:
        case Relation(operands=(*names, value), operators=operators) if len(names) > 1 and set(operators) == {
            "="
        }:
            if not all(isinstance(name, Symbol) for name in names) or isinstance(value, Symbol):
                return node
        case _:
            return node
    match other:
        case Listing():
            return Listing(tuple(Relation((name, value), ("=",)) for name in names), ",")
        case Relation(operands=(*others, _), operators=signs) if set(signs) == {"="} and (
            all(isinstance(name, Symbol) for name in others) and set(others) != set(names)
        ):
            return Listing(tuple(Relation((name, value), ("=",)) for name in names), ",")
        case Sequence(left="(", right=")") | Relation(operands=(Sequence(), _), operators=("=",)):
            points = (Sequence(tuple(items), "(", ")") for items in (names, [value] * len(names)))
            return Relation(tuple(points), ("=",))
    return node


def _as_list(node: Node) -> Node:
    match node:
        case Conditional(value=value, condition=Relation() as condition):
            return Listing((value, condition), ",")
    return node


def _with_condition(node: Node) -> Node:
    """Read ``x^2, x > 0`` beside "x^2 for x > 0" as a value under a condition."""
    match node:
        case Listing(items=(value, Relation(operators=operators) as condition)) if ORDER.issuperset(
            operators
        ):
            return Conditional(value, condition)
    return node


def _matrix_group(node: Node) -> Node:
    r"""Read ``SL_2(\\mathbb{R})`` as ``SL(2, \\mathbb{R})``."""
    match node:
        case Product(factors=(Symbol(name=name), field)):
            group, _, size = name.partition("_")
            if group in MATRIX_GROUPS and size:
                index: Node = integer(int(size)) if size.isdecimal() else Symbol(size)
                return Product((Symbol(group), Sequence((index, field), "(", ")")))
    return node


def _aligned_quantities(reference: Node, answer: Node) -> tuple[Node, Node]:
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


def _is_time(unit: Unit) -> bool:
    return units.to_base(unit)[0] == units.to_base(Unit((("hour", 1),)))[0]


def _with_bare_unit(node: Node, beside: Quantity) -> Quantity | None:
    """Read ``3600 J`` beside a quantity in joules as a quantity: letters that would be variables elsewhere."""
    rest, letters = _letters_at_the_end(node)
    if not rest or not letters:
        return None
    spellings = [" ".join(f"{name}^{power}" for name, power in letters)]
    names = "".join(name for name, _ in letters)
    if units.is_name(names) and all(power == 1 for _, power in letters[:-1]):
        spellings.append(f"{names}^{letters[-1][1]}")
    for unit in map(units.read_unit, spellings):
        if unit is not None and units.to_base(unit)[0] == units.to_base(beside.unit)[0]:
            return Quantity(rest[0] if len(rest) == 1 else Product(tuple(rest)), unit)
    return None


def _letters_at_the_end(node: Node) -> tuple[list[Node], list[tuple[str, int]]]:
    """Return the factors of a product or a fraction before its last letters, and these letters with their powers."""
    match node:
        case Quotient(numerator=above, denominator=below):
            rest, letters = _letters_at_the_end(above)
            divisor, others = _letters_at_the_end(below)
            return ([], []) if divisor else (rest, letters + [(name, -power) for name, power in others])
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


def _in_24_hours(reference: Clock, answer: Clock) -> tuple[Node, Node]:
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
    return Clock(hour, clock.minute, "")


def _in_order(node: SetOperation) -> Node:
    """Return a union or an intersection of names in the order of the alphabet."""
    if all(isinstance(operand, Symbol) for operand in node.operands):
        return SetOperation(node.operator, tuple(sorted(node.operands, key=repr)))
    return node


def _binomial(node: Node, other: Node) -> Node:
    """Read ``C(5, 2)`` beside a number as the binomial; beside a point it is the point C."""
    match node:
        case Product(factors=(Symbol(name="C"), Sequence(items=(count, chosen), left="(", right=")"))):
            return node if isinstance(other, Product) and node == other else Call("binom", (count, chosen))
        case Product(factors=factors):
            return _with_binomials(factors) or node
    return node


def _with_binomials(factors: Many[Node]) -> Node | None:
    """Read ``C(5, 2) C(3, 1)`` as a product of binomials; ``None`` where none is in it."""
    found: list[Node] = []
    for factor in factors:
        match factor:
            case Sequence(items=(count, chosen), left="(", right=")") if found and found[-1] == Symbol("C"):
                found[-1] = Call("binom", (count, chosen))
            case _:
                found.append(factor)
    return Product(tuple(found)) if len(found) < len(factors) else None


def _without_numbers(node: Listing) -> Listing:
    """Read ``x_1 = 1, x_2 = 2`` as ``x = 1, x = 2``: the numbers of solutions say nothing."""
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
    """Return the answer with its constants of integration ``C_1``, ``C_2`` in the reference's order."""
    if isinstance(reference, Relation):
        answer = _with_renamed_constant(reference, answer)
    constants = _constants(reference) or _other_constants(answer, reference)
    if 1 < len(constants) <= _MAX_CONSTANTS and constants != (given := _other_constants(reference, answer)):
        answer = _renamed(answer, given, constants) if len(given) == len(constants) else answer
    if not 2 <= len(constants) <= _MAX_CONSTANTS or constants != _constants(answer) or reference == answer:
        return answer
    parts = _parts(reference)
    for order in permutations(constants):
        renamed = _renamed(answer, constants, order)
        if _parts(renamed) == parts:
            return renamed
    return answer


def _with_renamed_constant(reference: Node, answer: Node) -> Node:
    """Return the answer to a differential equation with the reference's letter for the only constant: ``Ce^x``."""
    left, right = (
        {name for part in _operands(node) for name in names_in(part)} for node in (reference, answer)
    )
    if not (len(left - right) == len(right - left) == 1 and left & _INDEPENDENT):
        return answer
    (wanted,), (given,) = left - right, right - left
    names = {wanted, given}
    return (
        _renamed(answer, [given], [wanted]) if names <= _ONE_CONSTANT and names & _OF_INTEGRATION else answer
    )


def _constants(node: Node) -> list[str]:
    names = set().union(*(names_in(part) for part in _operands(node)))
    return sorted(name for name in names if name[:2] in ("C_", "c_") and name[2:].isdigit())


def _other_constants(reference: Node, answer: Node) -> list[str]:
    """Return the letters for the reference's constants of integration: ``A``, ``B`` or ``c_1``, ``c_2``."""
    left, right = (set().union(*(names_in(part) for part in _operands(node))) for node in (reference, answer))
    return sorted(name for name in right - left if name in "ABCD" or name[:2] in ("C_", "c_"))


def _operands(node: Node) -> Many[Node]:
    return node.operands if isinstance(node, Relation) else (node,)


def _parts(node: Node) -> list[frozenset[str]]:
    """Return the terms of a sum, each by its text: enough to find the place of each constant."""
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
