"""Layouts of lists that say the same: numbered coordinates, columns as binomials, lists in brackets."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import contains, rebuild, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Listing,
    Matrix,
    Node,
    Number,
    Relation,
    Sequence,
    Symbol,
)

__all__ = ["as_listed_values", "as_points", "with_binomial_columns"]


def as_points(node: Node, other: Node) -> Node:
    """Read ``x_1 = 1, x_2 = 3; y_1 = 2, y_2 = 4`` against points as the points (1, 2) and (3, 4)."""
    if not isinstance(node, Listing) or not contains(other, Sequence):
        return node
    values: dict[tuple[str, str], Node] = {}
    for item in _flat(node):
        match item:
            case Relation(operands=(Symbol(name=name), value), operators=("=",)) if name[1:2] == "_":
                if (name[0], name[2:]) in values or not name[2:].isdecimal():
                    return node
                values[name[0], name[2:]] = value
            case _:
                return node
    letters = sorted({letter for letter, _ in values})
    places = sorted({place for _, place in values})
    if len(letters) < 2 or len(values) != len(letters) * len(places):
        return node
    points = tuple(Sequence(tuple(values[letter, place] for letter in letters), "(", ")") for place in places)
    return points[0] if len(points) == 1 else Listing(points, ",")


def _flat(node: Listing) -> list[Node]:
    return [inner for item in node.items for inner in (_flat(item) if isinstance(item, Listing) else [item])]


def with_binomial_columns(reference: Node, answer: Node) -> tuple[Node, Node]:
    r"""Return both sides with columns of two numbers as binomials, where one side alone holds such columns.

    A reference that is a column is a vector against one of its entries; an answer that is one, against any number.
    """
    left, right = _has_column(reference), _has_column(answer)
    if left == right:
        return reference, answer
    column, other = (reference, answer) if left else (answer, reference)
    sides = other.operands if isinstance(other, Relation) else (other,)
    if not all(isinstance(side, SCALARS) and (not names_in(side) or _counts(side)) for side in sides):
        return reference, answer
    if isinstance(column, Matrix) and isinstance(other, Number) and (right or (other,) in column.rows):
        return reference, answer
    return (_binomials(reference), answer) if left else (reference, _binomials(answer))


def _counts(node: Node) -> bool:
    return any(isinstance(item, Call) and item.function in ("binom", "factorial") for item in walk(node))


def _has_column(node: Node) -> bool:
    return any(isinstance(item, Matrix) and [*map(len, item.rows)] == [1, 1] for item in walk(node))


def _binomials(node: Node) -> Node:
    match node:
        case Matrix(rows=((above,), (below,))) if isinstance(above, SCALARS) and isinstance(below, SCALARS):
            return Call("binom", (above, below))
    result: Node = rebuild(node, _binomials)
    return result


def as_listed_values(reference: Node, answer: Node) -> Node:
    """Read the reference ``[0.0, 1.0]`` against a point or a list as a program's list, whose floats have a point.

    ``[2, 3]`` stays an interval: its two ends alone do not answer it.
    """
    match reference, answer:
        case (
            Sequence(items=(Number(), Number()) as items, left="[", right="]"),
            (Sequence(left="(", right=")") | Listing(items=(Number(), Number()), joiner="," | "and" | ";")),
        ) if any(item.decimal and item.value.denominator == 1 for item in items if isinstance(item, Number)):
            return Listing(items, ",") if isinstance(answer, Listing) else Sequence(items, "(", ")")
    return reference
