"""Forms of an answer: what may be dropped, split off or rewritten before comparing."""

from __future__ import annotations

from collections.abc import Sequence as Many

from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.trees import collapse_vectors, expand_plus_minus, rebuild, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Cases,
    Conditional,
    Constant,
    Listing,
    Matrix,
    Node,
    Number,
    Product,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetOf,
    Sum,
    Symbol,
    Text,
    integer,
)
from guerdon_plugins.verifiers.math.reading.vocabulary import ORDER

_UNKNOWNS = frozenset(("x", "y", "z", "t", "lambda"))


def simplify(node: Node) -> Node:
    """Plus-minus signs become lists, vectors carry out their arithmetic, labelled coordinates get into order."""
    if isinstance(node, Sum | Product | Quotient | Call):
        node = collapse_vectors(node)
    if isinstance(node, Cases):
        node = Listing(node.rows, "and") if len(node.rows) > 1 else node.rows[0]
        return _in_order_of_labels(node)
    if isinstance(node, Listing | SetOf):
        items: list[Node] = []
        for item in node.items:
            expanded = expand_plus_minus(item) if not isinstance(item, Listing) else [item]
            items.extend(expanded)
        if isinstance(node, SetOf):
            return SetOf(tuple(items))
        return _in_order_of_labels(Listing(tuple(items), node.joiner))
    node = _in_order_of_labels(node)
    alternatives = expand_plus_minus(node)
    return node if len(alternatives) == 1 else Listing(tuple(alternatives), ",")


def _in_order_of_labels(node: Node) -> Node:
    """Read ``y = 2, x = 1`` as ``x = 1, y = 2``, which is the point (1, 2); so is ``(y, x) = (2, 1)``."""
    match node:
        case Listing(items=items, joiner="," | "and" as joiner):
            places = _alphabetical([label_and_body(item)[0] for item in items])
            return Listing(tuple(items[place] for place in places), joiner)
        case Relation(operands=(Sequence() as names, Sequence() as point), operators=("=",)):
            if len(names.items) == len(point.items):
                places = _alphabetical(names.items)
                sides = (
                    Sequence(tuple(side.items[place] for place in places), side.left, side.right)
                    for side in (names, point)
                )
                return Relation(tuple(sides), ("=",))
    return node


def _alphabetical(labels: Many[Node | None]) -> Many[int]:
    """Return the places of labels in their order as coordinates.

    It is that of the alphabet if they are neighbours in it, and otherwise the given one.
    ``x, y`` and ``a, b, c`` have one order. ``m, b`` has none that everybody keeps: slope and intercept.
    """
    names = [label.name if isinstance(label, Symbol) else "" for label in labels]
    places = range(len(names))
    if not all(len(name) == 1 and name.isascii() for name in names):
        return places
    neighbours = 0 < max(map(ord, names)) - min(map(ord, names)) < 3
    return sorted(places, key=names.__getitem__) if neighbours else places


def as_matrix(node: Sequence) -> Matrix:
    """Return a vector as a column; ``[[1, 2], [3, 4]]`` as a matrix."""
    rows = [item.items for item in node.items if isinstance(item, Sequence)]
    if len(rows) == len(node.items) and len({len(row) for row in rows}) == 1:
        return Matrix(tuple(rows))
    return Matrix(tuple((item,) for item in node.items))


def as_inequality(node: Node, other: Node) -> Node:
    r"""Return an interval with letters in its ends as an inequality against one: ``(-\infty, a)`` as ``x < a``."""
    if not isinstance(other, Relation) or not ORDER.issuperset(other.operators):
        return node
    match node:
        case Relation(operands=(Symbol() as letter, Sequence() as interval), operators=("∈",)):
            pass
        case Sequence() as interval:
            found = next((item for item in other.operands if isinstance(item, Symbol)), None)
            if found is None:
                return node
            letter = found
        case _:
            return node
    if (
        len(interval.items) != 2
        or not names_in(Sum(interval.items))
        or letter.name in names_in(Sum(interval.items))
    ):
        return node
    low, high = interval.items
    operands: list[Node] = [letter]
    operators: list[str] = []
    if not _is_infinite(low):
        operands.insert(0, low)
        operators.append("≤" if interval.left == "[" else "<")
    if not _is_infinite(high):
        operands.append(high)
        operators.append("≤" if interval.right == "]" else "<")
    return Relation(tuple(operands), tuple(operators)) if operators else node


def _is_infinite(node: Node) -> bool:
    return any(item == Constant("infinity") for item in walk(node))


def is_collection(node: Node) -> bool:
    """Return whether a node is a list or a set of answers."""
    return isinstance(node, Listing | SetOf)


def one_says_and_the_other_or(reference: Node, answer: Node) -> bool:
    """Return whether two lists of statements are joined in different ways; of values, "and" and "or" say the same.

    ``x = 3 or y = 4`` is not a system, however the other side joins it.
    """
    joiners = [node.joiner if isinstance(node, Listing) else "" for node in (reference, answer)]
    if "or" not in joiners or joiners == ["or", "or"]:
        return False
    items, others = (members(node) for node in (reference, answer))
    if len(items) == len(others) > 1 and all(isinstance(item, Text) for item in (*items, *others)):
        return True  # "Alice or Bob" is one of them
    if "and" in joiners:
        if _are_functions(items) and _are_functions(others):
            return False
        return all(isinstance(item, Relation | Symbol) for item in (*items, *others))
    labels, _ = split_labels(items if joiners[0] == "or" else others)
    return all_distinct(labels) and not are_numbered(labels)


def _are_functions(items: Many[Node]) -> bool:
    """Return whether items are functions, each a solution: ``f(x) = 0 and f(x) = x``; of numbers this is false."""
    return all(isinstance(label_and_body(item)[0], Apply) for item in items)


def members(node: Node) -> tuple[Node, ...]:
    """Return the answers in a list or a set; a single answer is a list of one."""
    return node.items if isinstance(node, Listing | SetOf) else (node,)


def split_labels(items: Many[Node]) -> tuple[list[Node | None], list[Node]]:
    """Return the labels and bodies of a list's items; in ``n = 2, 3, 4`` the first label applies to all."""
    pairs = [label_and_body(item) for item in items]
    labels: list[Node | None] = [label for label, _ in pairs]
    return labels, [body for _, body in pairs]


def all_distinct(labels: Many[Node | None]) -> bool:
    """Return whether every answer has a label of its own."""
    names = [key(label) for label in labels if label is not None]
    return len(names) == len(labels) > 1 and len(set(names)) == len(names)


def are_numbered(labels: Many[Node | None]) -> bool:
    """Return whether labels only number the answers: ``x_1``, ``x_2``."""
    stems = {label.name.split("_")[0] for label in labels if isinstance(label, Symbol) and "_" in label.name}
    return len(stems) == 1 and all(isinstance(label, Symbol) and "_" in label.name for label in labels)


def are_numbered_roots(labels: Many[Node | None]) -> bool:
    """Return whether labels number the roots of one equation, which have no order: ``x_1``, ``x_2``; not ``a_1``."""
    return are_numbered(labels) and all(
        isinstance(label, Symbol) and label.name.split("_")[0] in _UNKNOWNS for label in labels
    )


def has_conditions(*nodes: Node) -> bool:
    """Return whether one of the answers holds under a condition."""
    return any(isinstance(item, Conditional) for node in nodes for item in members(node))


def without_factor(node: Node, constant: Constant) -> Node | None:
    """Return the node without a factor ``degree`` or ``percent`` at its top; ``None`` if there is none."""
    if isinstance(node, Product) and node.factors[-1] == constant:
        rest = node.factors[:-1]
        return rest[0] if len(rest) == 1 else Product(rest)
    if isinstance(node, Product) and len(node.factors) == 2:
        inner = without_factor(node.factors[1], constant)
        return None if inner is None else Product((node.factors[0], inner))
    return None


def ratio_parts(node: Node) -> tuple[Node, ...] | None:
    """Return the parts of a ratio, or of a fraction read as one."""
    match node:
        case Ratio(parts=parts):
            return parts
        case Quotient(numerator=numerator, denominator=denominator):
            return numerator, denominator
        case Number(value=value):
            return integer(value.numerator), integer(value.denominator)
    return (node, integer(1)) if isinstance(node, SCALARS) and not names_in(node) else None


def is_bare_logarithm(node: Node) -> bool:
    """Return whether a node is a logarithm without a written base."""
    return isinstance(node, Call) and node.function == "log" and len(node.arguments) == 1


def with_decimal_logarithms(node: Node) -> Node:
    r"""Return the node with base 10 where a logarithm has none: ``\log`` is natural to some and decimal to others."""
    changed: Node = rebuild(node, with_decimal_logarithms)
    if isinstance(changed, Call) and is_bare_logarithm(changed):
        return Call("log", (changed.arguments[0], integer(10)))
    return changed


def kind_of(node: Node) -> str:
    """Return what a node is, for a person."""
    return {
        "Sequence": "a point or an interval",
        "SetOf": "a set",
        "Listing": "a list",
        "Relation": "a relation",
    }.get(type(node).__name__, f"a {type(node).__name__.lower()}")
