r"""Sets in another description: lines with a parameter, spans, general solutions, solutions of an equation.

``x = 1 + 2t, y = -1 - t, z = 3t`` is a line, whatever its point and the multiple of its direction;
``C_1e^x + C_2e^{-x}`` and ``A\cosh x + B\sinh x`` hold the same functions.
"""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.curves import line_equations, reduced_rows
from guerdon_plugins.verifiers.math.comparing.exact import rational
from guerdon_plugins.verifiers.math.comparing.linear_families import same_linear_family
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body
from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.comparing.solved_sets import solves
from guerdon_plugins.verifiers.math.comparing.trees import collapse_vectors
from guerdon_plugins.verifiers.math.errors import TooLargeError
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Cases,
    Conditional,
    Listing,
    Matrix,
    NamedSet,
    Node,
    Relation,
    Sequence,
    SetOf,
    Sum,
    Symbol,
)

__all__ = ["same_parametrised"]

_COORDINATES = ("x", "y", "z")
_PARAMETERS = frozenset(("t", "s", "lambda", "mu", "tau"))
_POSITIONS = frozenset(("vec r", "vec x", "vec l", "r", "l"))
"""Names of the point that runs along a line."""
_PLACES = (Fraction(0), Fraction(1), Fraction(2), Fraction(-7, 3))
_MOST_VECTORS = 8

Rows = list[list[Fraction]]


def same_parametrised(reference: Node, answer: Node) -> Finding | None:
    """Return that two answers describe one set in different ways; ``None`` where that is not found."""
    budget = Budget()
    try:
        left, right = _line(reference, budget), _line(answer, budget)
        if left and right and left[0] == right[0] and (left[1] or right[1]):
            return Finding(True, "line")
        vectors = _span(reference, budget)
        if vectors is not None and vectors == _span(answer, budget):
            return Finding(True, "span")
        if same_linear_family(reference, answer, budget):
            return Finding(True, "family")
        if solves(reference, answer, budget):
            return Finding(True, "solutions")
    except (ArithmeticError, LookupError, ValueError, TooLargeError):
        pass
    return None


def _line(node: Node, budget: Budget) -> tuple[Rows, bool] | None:
    """Return the equations of a line in reduced form, and whether it is a line for sure.

    Two coordinates with an undeclared letter may be a point in terms of a letter that the question gives.
    """
    if isinstance(node, Relation) and len(node.operands) == 3:
        rows = line_equations(node, budget)
        return None if rows is None else (rows, True)
    node, declared = _without_parameter(node)
    values = _coordinates(node)
    if values is None:
        return None
    letters = names_in(Sum(values))
    if len(letters) != 1 or letters & set(_COORDINATES) or not declared <= letters:
        return None
    if not declared and not letters <= _PARAMETERS:
        return None
    (letter,) = letters
    if letter == "t" and not declared and isinstance(_name(node), Symbol):
        return None  # it may be time, and the direction a velocity
    points = [[rational(value, budget, {letter: place}) for value in values] for place in _PLACES]
    direction = [end - start for start, end in zip(points[0], points[1], strict=True)]
    for place, point in zip(_PLACES, points, strict=True):
        if point != [start + place * step for start, step in zip(points[0], direction, strict=True)]:
            return None
    if not any(direction):
        return None
    certain = bool(declared) or len(values) > 2 or (isinstance(node, Relation) and _adds_vectors(node))
    return _equations(points[0], direction), certain


def _adds_vectors(relation: Relation) -> bool:
    """Return whether a side is a sum of vectors: a point and a multiple of the direction."""
    return any(isinstance(side, Sum) for side in relation.operands)


def _without_parameter(node: Node) -> tuple[Node, set[str]]:
    r"""Return a node without ``t \in \mathbb{R}``, and the letters that it declares; other domains make no line."""
    match node:
        case Conditional(value=value, condition=Relation() as condition) if _is_real(condition):
            return value, names_in(condition.operands[0])
        case Listing(items=(*items, Relation() as last)) if _is_real(last):
            rest = items[0] if len(items) == 1 else Listing(tuple(items), node.joiner)
            return rest, names_in(last.operands[0])
    return node, set()


def _is_real(relation: Relation) -> bool:
    return relation.operators == ("∈",) and relation.operands[1] == NamedSet("R")


def _coordinates(node: Node) -> tuple[Node, ...] | None:
    """Return the values of the coordinates in their order, of which there are two or three."""
    match node:
        case Cases(rows=items) | Listing(items=items, joiner="," | "and" | ";"):
            pairs = [
                item.operands if isinstance(item, Relation) and item.operators == ("=",) else ()
                for item in items
            ]
            names = [pair[0] if len(pair) == 2 else None for pair in pairs]
            values = {
                name.name: pair[1]
                for name, pair in zip(names, pairs, strict=True)
                if isinstance(name, Symbol)
            }
            if len(values) < len(items):
                return None
        case Relation(operands=(Sequence(items=names), body), operators=("=",)):
            point = collapse_vectors(body)
            if not isinstance(point, Sequence) or len(point.items) != len(names):
                return None
            values = {
                name.name: value
                for name, value in zip(names, point.items, strict=True)
                if isinstance(name, Symbol)
            }
        case Relation(operands=(Symbol(name=name), Sum() as body), operators=("=",)) if name in _POSITIONS:
            point = collapse_vectors(body)
            if not isinstance(point, Sequence) or len(point.items) > len(_COORDINATES):
                return None
            values = dict(zip(_COORDINATES, point.items, strict=False))
        case _:
            return None
    order = _COORDINATES[: len(values)]
    if len(values) < 2 or set(values) != set(order):
        return None
    found = tuple(values[name] for name in order)
    return found if all(isinstance(value, SCALARS) for value in found) else None


def _name(node: Node) -> Node | None:
    return node.operands[0] if isinstance(node, Relation) else None


def _equations(point: list[Fraction], direction: list[Fraction]) -> Rows:
    """Return the linear equations that hold on a line; each row ends with its constant."""
    pivot = next(place for place, step in enumerate(direction) if step)
    rows = []
    for place in range(len(point)):
        if place != pivot:
            row = [Fraction(0)] * (len(_COORDINATES) + 1)
            row[place] = direction[pivot]
            row[pivot] = -direction[place]
            row[-1] = -(direction[pivot] * point[place] - direction[place] * point[pivot])
            rows.append(row)
    if len(point) < len(_COORDINATES):
        rows.append([Fraction(0), Fraction(0), Fraction(1), Fraction(0)])  # the plane z = 0
    return reduced_rows(rows)


def _span(node: Node, budget: Budget) -> Rows | None:
    """Return the vectors of a span in reduced form."""
    _, node = label_and_body(node)
    match node:
        case Apply(name="span", arguments=(SetOf(items=items) | Listing(items=items),)):
            pass
        case Apply(name="span", arguments=(Sequence(items=(Sequence() | Matrix(), *_) as items),)):
            pass
        case Apply(name="span", arguments=(Sequence() | Matrix() as vector,)):
            items = (vector,)
        case _:
            return None
    vectors = [_entries(item) for item in items[:_MOST_VECTORS]]
    if not vectors or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        return None
    width = len(vectors[0])
    return [
        *reduced_rows([[rational(entry, budget) for entry in vector] for vector in vectors]),
        [Fraction(width)],
    ]


def _entries(node: Node) -> tuple[Node, ...]:
    """Return the entries of a vector in brackets or in a column or a row."""
    node = collapse_vectors(node)
    match node:
        case Sequence(items=items):
            return items
        case Matrix(rows=rows) if len(rows) == 1 or len(rows[0]) == 1:
            return tuple(entry for row in rows for entry in row)
    return ()
