"""A reference and an answer in one form, where one form has several ways to write it."""

from __future__ import annotations

import re
from collections.abc import Sequence as Many

from guerdon_plugins.verifiers.math.comparing.constants import with_renamed_constants
from guerdon_plugins.verifiers.math.comparing.names import (
    coordinates,
    with_constant_of_integration,
    with_names_apart,
    with_the_same_index,
)
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.patterns import from_first, progression
from guerdon_plugins.verifiers.math.comparing.quantity_forms import aligned_quantities, in_24_hours
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.texts import ORDINALS
from guerdon_plugins.verifiers.math.comparing.trees import contains, substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Clock,
    Conditional,
    Congruence,
    Constant,
    Date,
    Dots,
    Listing,
    Matrix,
    NamedSet,
    Node,
    Number,
    Product,
    Proposition,
    Quantity,
    Ratio,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    SetOperation,
    Span,
    Sum,
    Symbol,
    Text,
    Unit,
    integer,
)
from guerdon_plugins.verifiers.math.reading.phrases import NO_REAL_SOLUTION, read_phrase
from guerdon_plugins.verifiers.math.reading.propositions import read_proposition
from guerdon_plugins.verifiers.math.reading.vocabulary import MATRIX_GROUPS, ORDER

_COMMAS = re.compile(r"\s*[,、，]\s*(?:and\s+)?")
_COORDINATES = frozenset("xyz")
_ROMAN = ("I", "II", "III", "IV")
_QUADRANT = Unit((("ordinal quadrant", 1),))
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
    answer = _in_polar_letters(reference, answer)
    answer = _with_parameter(reference, answer)
    answer = _with_imaginary_unit(reference, answer)
    reference, answer = _unchained(reference, answer), _unchained(answer, reference)
    match reference, answer:
        case Clock(), Clock():
            return in_24_hours(reference, answer)
        case Date(), Date():
            year = answer.year if reference.year and answer.year else reference.year
            return reference, Date(year, answer.month, answer.day)
        case (Span(parts=parts, or_ratio=True), Ratio()):
            return Ratio(parts), answer
        case (Ratio(), Span(parts=parts, or_ratio=True)):
            return reference, Ratio(parts)
        case (Quantity(unit=unit), Symbol(name=name)) if unit == _QUADRANT and name in _ROMAN:
            return reference, Quantity(integer(_ROMAN.index(name) + 1), unit)
        case (Quantity(), _) | (_, Quantity()):
            return aligned_quantities(reference, answer)
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
        case (Sequence(items=(_, _, _, *_), left="(", right=")"), Listing(items=items, joiner="," | ";")):
            return reference, Sequence(items, "(", ")")
        case (Text(words="infinitely many"), Constant(name="infinity")) | (
            Constant(name="infinity"),
            Text(words="infinitely many"),
        ):
            return reference, reference
        case (SetOf(items=(*items, Dots())), SetBuilder()):
            return progression(items) or reference, answer
        case (SetBuilder(), SetOf(items=(*items, Dots()))):
            return reference, progression(items) or answer
        case (Listing(items=(_, _, *_, Dots()) as items), Relation() | Listing() as other) if not contains(
            other, Dots
        ):
            return from_first(items) or reference, answer
        case (Relation() | Listing() as other, Listing(items=(_, _, *_, Dots()) as items)) if not contains(
            other, Dots
        ):
            return reference, from_first(items) or answer
        case (Listing(items=(_, _, _, *_) as items, joiner=","), Sequence(left="(", right=")")) if len(
            items
        ) == len(answer.items) and not any(isinstance(item, Sequence) for item in items):
            return Sequence(items, "(", ")"), answer
        case (Congruence(left=Symbol(), right=Number(value=odd), modulus=two), Text(words=words)) if (
            two == integer(2)
        ):
            return (answer if words.lower() == ("odd" if odd else "even") else reference), answer
        case (Text(words=words), Congruence(left=Symbol(), right=Number(value=odd), modulus=two)) if (
            two == integer(2)
        ):
            return reference, (reference if words.lower() == ("odd" if odd else "even") else answer)
        case (Text(words=words), Number()) if words.lower() in ORDINALS:
            return integer(ORDINALS.index(words.lower())), answer
        case (Number(), Text(words=words)) if words.lower() in ORDINALS:
            return reference, integer(ORDINALS.index(words.lower()))
        case (Listing(items=items), Text(words=words)) if _are_words(items):
            return reference, _listed_words(words)
        case (Text(words=words), Listing(items=items)) if _are_words(items):
            return _listed_words(words), answer
        case (
            Product(factors=(Symbol() as name, Sequence() as point)),
            Relation(operands=(label, Sequence())),
        ) if name == label:
            return point, answer
        case (
            Relation(operands=(label, Sequence())),
            Product(factors=(Symbol() as name, Sequence() as point)),
        ) if name == label:
            return reference, point
        case (Proposition(), Sum()):
            return reference, _set_difference(answer)
        case (Sum(), Proposition()):
            return _set_difference(reference), answer
        case (Symbol(), Symbol()):
            return _polygon(reference, answer), _polygon(answer, reference)
        case (Relation(operators=("⊃" | "⊇",)), Relation()) | (Relation(), Relation(operators=("⊃" | "⊇",))):
            return _with_smaller_first(reference), _with_smaller_first(answer)
        case (SetOperation(operator="union" | "intersection"), SetOperation()):
            return _in_order(reference), _in_order(answer)
        case (Product(factors=(Symbol(name=name), Sequence() as point)), Sequence()) if name in _POINT_NAMES:
            return point, answer
        case (Sequence(), Product(factors=(Symbol(name=name), Sequence() as point))) if name in _POINT_NAMES:
            return reference, point
        case Relation(), Relation():
            return reference, with_renamed_constants(reference, answer)
        case Listing(), Listing():
            return _without_numbers(reference), _without_numbers(answer)
    if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
        return (
            _binomial(reference, answer),
            with_constant_of_integration(
                reference, with_renamed_constants(reference, _binomial(answer, reference))
            ),
        )
    return reference, answer


def _are_words(items: Many[Node]) -> bool:
    return all(isinstance(label_and_body(item)[1], Text) for item in items)


def _listed_words(words: str) -> Node:
    """Return names that commas separate as a list."""
    names = [name.strip() for name in _COMMAS.split(words)]
    if len(names) < 2 or not all(names):
        return Text(words)
    return Listing(tuple(read_phrase(name) or Text(name) for name in names), ",")


def _set_difference(node: Node) -> Node:
    r"""Read ``A - B`` beside a formula of sets as ``A \\setminus B``."""
    match node:
        case Sum(terms=(Symbol(name=left), Product(factors=(Number(value=sign), Symbol(name=right))))) if (
            sign == -1
        ):
            return read_proposition(f"{left} \\setminus {right}") or node
    return node


def _polygon(node: Symbol, other: Symbol) -> Symbol:
    """Return a triangle with its vertices in the order of the alphabet, which a figure alone does not have."""
    name = node.name.removeprefix("triangle ")
    if not (node.name + other.name).count("triangle ") or not name.isupper() or len(name) != 3:
        return node
    return Symbol(f"triangle {''.join(sorted(name))}")


def _with_smaller_first(node: Node) -> Node:
    r"""Read ``B \\supset A`` as ``A \\subset B``."""
    match node:
        case Relation(operands=(left, right), operators=("⊃" | "⊇" as sign,)):
            return Relation((right, left), ("⊂" if sign == "⊃" else "⊆",))
    return node


def _in_polar_letters(reference: Node, answer: Node) -> Node:
    r"""Return ``r = 2\\sin\\theta`` with the reference's letter for the distance, ``\\rho``."""
    if not isinstance(reference, Relation) or not isinstance(answer, Relation):
        return answer
    left, right = names_in(Sum(reference.operands)), names_in(Sum(answer.operands))
    if (
        "theta" in left & right
        and {*(left - right), *(right - left)} == {"r", "rho"}
        and len(left) == len(right)
    ):
        renamed: Node = substitute(answer, *(("r", Symbol("rho")) if "r" in right else ("rho", Symbol("r"))))
        return renamed
    return answer


def _with_parameter(reference: Node, answer: Node) -> Node:
    """Return ``(x, y, z) = (t, t, t)`` with the reference's letter for the parameter: ``(k, k, k)``."""
    match reference, answer:
        case (
            Relation(operands=(Sequence(), Sequence() as wanted), operators=("=",)),
            Relation(operands=(Sequence(), Sequence() as given), operators=("=",)),
        ):
            left, right = (set().union(*map(names_in, point.items)) for point in (wanted, given))
            if len(left) == len(right) == 1 and left != right and not (left | right) & _COORDINATES:
                renamed: Node = substitute(answer, right.pop(), Symbol(left.pop()))
                return renamed
    return answer


def _with_imaginary_unit(reference: Node, answer: Node) -> Node:
    """Return ``2 - 3j`` as ``2 - 3i`` beside a complex number: engineers call the unit j."""
    if not isinstance(answer, Sum | Product | Symbol) or names_in(answer) != {"j"}:
        return answer
    unit = Constant("i")
    if unit in walk(answer) or unit not in walk(reference) or names_in(reference):
        return answer
    renamed: Node = substitute(answer, "j", unit)
    return renamed


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
