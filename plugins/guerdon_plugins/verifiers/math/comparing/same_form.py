r"""One side in the form of the other: ``3 to 5`` against a ratio, ``2i - j`` against a point, names against a list."""

from __future__ import annotations

import re
from collections.abc import Sequence as Many

from guerdon_plugins.verifiers.math.comparing.forms import are_numbered_roots
from guerdon_plugins.verifiers.math.comparing.names import coordinates
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.patterns import from_first, progression
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.texts import ORDINALS
from guerdon_plugins.verifiers.math.comparing.trees import contains, substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Conditional,
    Congruence,
    Constant,
    Dimensions,
    Dots,
    Listing,
    Matrix,
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
from guerdon_plugins.verifiers.math.reading.phrases import read_phrase
from guerdon_plugins.verifiers.math.reading.propositions import read_proposition
from guerdon_plugins.verifiers.math.reading.vocabulary import MATRIX_GROUPS, ORDER

_COMMAS = re.compile(r"\s*[,、，]\s*(?:(?:and|but)\s+)?|\s+but\s+(?=not\b)")
_ROMAN = ("I", "II", "III", "IV")
_QUADRANT = Unit((("ordinal quadrant", 1),))
_POINT_NAMES = frozenset("ABCDEFGHIJKLMOPQRSTVWXYZ")
"""Capitals that name a point before its coordinates; ``N(0,1)`` and ``U(0,1)`` are distributions."""


def in_form_of(node: Node, other: Node) -> Node:
    """Return a node in the form that the other side has, if it says the same in it; else the node as it is."""
    node = _unchained(_as_point(node, other), other)
    match node:
        case Listing():
            return _list(node, other)
        case Text():
            return _words(node, other)
        case Relation():
            return _relation(node, other)
        case Product() | Sum() | Symbol():
            return _expression(node, other)
    match node, other:
        case Span(parts=parts, or_ratio=True), Ratio():
            return Ratio(parts)
        case Conditional(value=value), Listing(items=items):
            member = isinstance(items[-1], Relation) and items[-1].operators == ("∈",)
            return _as_list(node) if isinstance(value, Relation) or (member and len(items) == 2) else node
        case (
            Conditional(
                value=value, condition=Relation(operands=(Symbol(name=name), meant), operators=("=",))
            ),
            _,
        ) if (
            isinstance(value, SCALARS)
            and isinstance(other, SCALARS)
            and name in names_in(value)
            and not names_in(meant) | {name} & names_in(other)
        ):
            replaced: Node = substitute(value, name, meant)
            return replaced
        case Constant(name="infinity"), Text(words="infinitely many"):
            return other
        case SetBuilder(element=Sequence(items=names), condition=Relation() as condition), Relation() if all(
            isinstance(name, Symbol) for name in names
        ):
            return condition  # \\{(x, y) : x^2 + y^2 < 1\\}
        case SetOf(items=(*items, Dots())), SetBuilder():
            return progression(items) or node
        case SetOperation(operator="union" | "intersection"), SetOperation():
            return _in_order(node)
    return node


def _named_point(item: Node, others: Many[Node]) -> Node:
    """Read the point ``M(1, 2)`` in a list against ``M = (1, 2)`` as an equation."""
    match item:
        case Product(factors=(Symbol() as name, Sequence() as point)):
            labels = [other.operands[0] for other in others if isinstance(other, Relation)]
            return Relation((name, point), ("=",)) if name in labels else item
    return item


def _without_chains(node: Listing) -> Listing:
    """Read ``x = y = 4, z = 2`` as ``x = 4, y = 4, z = 2``."""
    items: list[Node] = []
    for item in node.items:
        match item:
            case Relation(operands=(*names, value), operators=operators) if (
                len(names) > 1 and set(operators) == {"="} and isinstance(value, Number)
            ) and all(isinstance(name, Symbol) for name in names):
                items += [Relation((name, value), ("=",)) for name in names]
            case _:
                items.append(item)
    return Listing(tuple(items), node.joiner)


def _list(node: Listing, other: Node) -> Node:
    node = _without_chains(node)
    match node.items, other:
        case (Text(), *rest), Text() if node.joiner == "," and all(isinstance(item, Text) for item in rest):
            return Text(", ".join(item.words for item in node.items if isinstance(item, Text)))
        case (_, Relation(operators=("∈",))), Conditional():
            return node
        case (_, Relation()), Conditional(value=value, condition=condition) if not isinstance(
            value, Relation
        ):
            declares = isinstance(condition, Relation) and condition.operators == ("∈",)
            return node if declares else _with_condition(node)
        case (_, _, *_, Dots()), Relation() | Listing() if not contains(other, Dots):
            return from_first(node.items) or node
        case _, Listing(items=others):
            return _without_numbers(
                Listing(tuple(_named_point(item, others) for item in node.items), node.joiner)
            )
        case (_, _, _, *_), Sequence(items=items, left=left, right=right) if len(items) == len(node.items):
            points = any(isinstance(item, Sequence) for item in node.items)
            values = (left, right) in (("(", ")"), ("[", "]")) and not points and node.joiner in (",", ";")
            return Sequence(node.items, left, right) if values else node
    return node


def _words(node: Text, other: Node) -> Node:
    words = node.words.lower()
    match other:
        case Number() if words in ORDINALS:
            return integer(ORDINALS.index(words))
        case Congruence(left=Symbol(), right=Number(value=odd), modulus=two) if two == integer(2):
            return other if words == ("odd" if odd else "even") else node
        case Listing(items=items) if _are_words(items):
            return _listed_words(node.words)
    return node


def _relation(node: Relation, other: Node) -> Node:
    match node, other:
        case Relation(operands=(label, Sequence() as point)), Product(factors=(Symbol() as name, Sequence())):
            return point if name == label else node
        case Relation(operators=("⊃" | "⊇",)), Relation():
            return _with_smaller_first(node)
    return node


def _expression(node: Node, other: Node) -> Node:
    match node, other:
        case Symbol(name=name), Quantity(unit=unit) if unit == _QUADRANT and name in _ROMAN:
            return Quantity(integer(_ROMAN.index(name) + 1), unit)
        case Product(factors=numbers), Listing(items=items) if _are_digits(numbers) and _are_digits(items):
            return Listing(tuple(numbers), ",")  # (1)(3) against ①③
        case Symbol(), Symbol():
            return _polygon(node, other)
        case Sum(), Proposition():
            return _set_difference(node)
        case Product(factors=(Symbol(name=name), Sequence() as point)), Sequence() if name in _POINT_NAMES:
            return point
        case Product(factors=(Symbol() as name, Sequence() as point)), Relation(operands=(label, Sequence())):
            return point if name == label else node
        case Product(factors=(_, _, *_) as numbers), Dimensions(parts=parts) if len(numbers) == len(parts):
            return Dimensions(numbers) if all(isinstance(item, Number) for item in numbers) else node
        case Product(), _ if isinstance(other, SCALARS):
            return _matrix_group(_binomial(node, other))
    return node


def _are_digits(items: Many[Node]) -> bool:
    return all(isinstance(item, Number) and item.value in range(1, 10) for item in items)


def _are_words(items: Many[Node]) -> bool:
    return all(isinstance(label_and_body(item)[1], Text) for item in items)


def _listed_words(words: str) -> Node:
    """Return names that commas separate as a list."""
    names = [name.strip() for name in _COMMAS.split(words)]
    if len(names) < 2 or not all(names):
        return Text(words)
    return Listing(tuple(read_phrase(name) or Text(name) for name in names), ",")


def _set_difference(node: Node) -> Node:
    r"""Read ``A - B`` against a formula of sets as ``A \setminus B``."""
    match node:
        case Sum(terms=(Symbol(name=left), Product(factors=(Number(value=sign), Symbol(name=right))))) if (
            sign == -1
        ):
            return read_proposition(f"{left} \\setminus {right}") or node
    return node


def _polygon(node: Symbol, other: Symbol) -> Symbol:
    """Return a triangle with its vertices, and an angle with its sides, in the order of the alphabet."""
    if node.name.startswith("angle ") and len(node.name) == 9:
        first, vertex, last = tuple(node.name[6:])
        return Symbol(f"angle {min(first, last)}{vertex}{max(first, last)}")
    name = node.name.removeprefix("triangle ")
    if not (node.name + other.name).count("triangle ") or not name.isupper() or len(name) != 3:
        return node
    return Symbol(f"triangle {''.join(sorted(name))}")


def _with_smaller_first(node: Node) -> Node:
    r"""Read ``B \supset A`` as ``A \subset B``."""
    match node:
        case Relation(operands=(left, right), operators=("⊃" | "⊇" as sign,)):
            return Relation((right, left), ("⊂" if sign == "⊃" else "⊆",))
    return node


def _as_point(node: Node, other: Node) -> Node:
    r"""Read ``2i - j + 3k`` against a point or a column as (2, -1, 3)."""
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


def _unchained(node: Node, other: Node) -> Node:
    """Read ``a = b = c = 1`` against ``a = 1, b = 1, c = 1`` or ``(a, b, c) = (1, 1, 1)`` in its form."""
    match node:
        case Relation(operands=(*names, value), operators=operators) if len(names) > 1 and set(operators) == {
            "="
        }:
            if not all(isinstance(name, Symbol) for name in names) or isinstance(value, Symbol):
                return node
        case _:
            return node
    match names[0], other:
        case Symbol(name=name), _ if are_numbered_roots(names) and _is_one_value(other):
            return Relation((Symbol(name.split("_")[0]), value), ("=",))  # a root that counts twice
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


def _is_one_value(node: Node) -> bool:
    body = node.operands[-1] if isinstance(node, Relation) and node.operators == ("=",) else node
    return isinstance(body, SCALARS) and not names_in(body)


def _as_list(node: Node) -> Node:
    match node:
        case Conditional(value=value, condition=Relation() as condition):
            return Listing((value, condition), ",")
    return node


def _with_condition(node: Node) -> Node:
    """Read ``x^2, x > 0`` against "x^2 for x > 0" as a value under a condition."""
    match node:
        case Listing(items=(value, Relation(operators=operators) as condition)) if ORDER.issuperset(
            operators
        ):
            return Conditional(value, condition)
    return node


def _matrix_group(node: Node) -> Node:
    r"""Read ``SL_2(\mathbb{R})`` as ``SL(2, \mathbb{R})``."""
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
    """Read ``C(5, 2)`` against a number as the binomial; against a point it is the point C."""
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
