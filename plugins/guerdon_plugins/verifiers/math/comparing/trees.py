"""Rewriting trees: substitution, the two values of a plus-minus sign, arithmetic on vectors and matrices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Constant,
    Matrix,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quotient,
    Sequence,
    Sum,
    Symbol,
    children,
    fields,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.reading.tokens import TooLargeError

MAX_ALTERNATIVES = 16


_EXPONENTIAL = frozenset(("sinh", "cosh", "tanh", "coth", "sech", "csch"))


def has_exponential(node: Node) -> bool:
    """Whether a tree has a part that may be far smaller than the rest: an exponential or a hyperbolic function."""
    return any(
        (isinstance(item, Call) and item.function in _EXPONENTIAL)
        or (isinstance(item, Power) and item.base == Constant("e") and not isinstance(item.exponent, Symbol))
        for item in walk(node)
    )


def rebuild(node: Node, change: Callable[[Node], Node]) -> Any:
    """Return a node of the same kind with ``change`` applied to the nodes directly under it."""
    return type(node)(*(_rebuilt(value, change) for value in fields(node)))


def _rebuilt(value: Any, change: Callable[[Node], Node]) -> Any:
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_rebuilt(item, change) for item in value)
    return value


def substitute(node: Any, name: str, value: Node) -> Any:
    """Return the node with a variable replaced."""
    if isinstance(node, Symbol):
        return value if node.name == name else node
    return rebuild(node, lambda child: substitute(child, name, value))


def contains(node: Node, kind: type) -> bool:
    """Return whether a node of a kind occurs anywhere in a tree."""
    return any(isinstance(item, kind) for item in walk(node))


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything under it."""
    stack = [node]
    while stack:
        item = stack.pop()
        yield item
        stack.extend(children(item))


def expand_plus_minus(node: Node) -> list[Node]:
    """Return the nodes that a node with plus-minus signs means: two per sign, in step where a minus-plus occurs.

    Raises:
        TooLargeError: There are more than :data:`MAX_ALTERNATIVES`.
    """
    signs = [item.sign for item in walk(node) if isinstance(item, PlusMinus)]
    if not signs:
        return [node]
    if 2 ** len(signs) > MAX_ALTERNATIVES:
        raise TooLargeError(f"{len(signs)} plus-minus signs")
    if -1 in signs:
        choices = [(1,) * len(signs), (-1,) * len(signs)]
    else:
        choices = list(itertools.product((1, -1), repeat=len(signs)))
    return [_choose(node, iter(choice)) for choice in choices]


def _choose(node: Any, choice: Iterator[int]) -> Any:
    if isinstance(node, PlusMinus):
        sign = next(choice) * node.sign
        term = _choose(node.term, choice)
        return term if sign > 0 else negate(term)
    return rebuild(node, lambda child: _choose(child, choice))


def collapse_vectors(node: Node) -> Node:
    """Carry out sums and scalar multiples of matrices and vectors, so that their entries can be compared."""
    match node:
        case Product(factors=factors):
            return _scaled(tuple(map(collapse_vectors, factors))) or node
        case Quotient(numerator=Matrix() | Sequence() as array, denominator=denominator):
            return _map_entries(array, lambda entry: Quotient(entry, denominator))
        case Sum(terms=terms):
            size = next(
                (len(term.rows) for term in map(collapse_vectors, terms) if isinstance(term, Matrix)), 0
            )
            arrays = [
                term
                for term in (collapse_vectors(_with_identity(term, size)) for term in terms)
                if isinstance(term, Matrix | Sequence)
            ]
            return _added_points(arrays, node) or _added(
                [one for one in arrays if isinstance(one, Matrix)], node
            )
        case Call(function="transpose", arguments=(Matrix(rows=rows),)):
            return Matrix(tuple(zip(*rows, strict=True)))
        case Call(function="transpose", arguments=(Sequence(items=items),)):
            return Matrix(tuple((item,) for item in items))
    return node


def _with_identity(node: Node, size: int) -> Node:
    """Return ``I`` against a matrix of a size, alone or times scalars, as the identity of that size."""
    match node:
        case Symbol(name="I" | "E" | "I_n" | "E_n") if size:
            rows = (tuple(integer(int(row == place)) for place in range(size)) for row in range(size))
            return Matrix(tuple(rows))
        case Product(factors=factors) if size:
            return Product(tuple(_with_identity(factor, size) for factor in factors))
    return node


def _scaled(factors: tuple[Node, ...]) -> Node | None:
    """Return one array times scalars, entry by entry; ``None`` for any other product."""
    arrays = [factor for factor in factors if isinstance(factor, Matrix | Sequence)]
    scalars = tuple(factor for factor in factors if isinstance(factor, SCALARS))
    if len(arrays) != 1 or not scalars or len(scalars) != len(factors) - 1:
        return None
    return _map_entries(arrays[0], lambda entry: Product((*scalars, entry)))


def _added_points(arrays: list[Matrix | Sequence], whole: Sum) -> Node | None:
    """Return a sum of points of one length, entry by entry."""
    points = [array.items for array in arrays if isinstance(array, Sequence)]
    brackets = {(array.left, array.right) for array in arrays if isinstance(array, Sequence)}
    if len(points) != len(whole.terms) or len(set(map(len, points))) != 1 or len(points[0]) < 2:
        return None
    if not brackets <= {("(", ")"), ("langle", "rangle")}:
        return None
    return Sequence(tuple(map(Sum, zip(*points, strict=True))), "(", ")")


def _added(matrices: list[Matrix], whole: Sum) -> Node:
    """Return a sum of matrices of one shape, entry by entry; any other sum as it is."""
    shapes = {tuple(map(len, matrix.rows)) for matrix in matrices}
    if len(matrices) != len(whole.terms) or len(shapes) != 1:
        return whole
    rows = zip(*(matrix.rows for matrix in matrices), strict=True)
    return Matrix(tuple(tuple(map(Sum, zip(*row, strict=True))) for row in rows))


def covers_both_signs(node: Node) -> bool:
    r"""Whether a function is defined on both sides of a zero by intent: ``\ln|x|``, ``\ln(x^2)``."""
    return any(_takes_both_signs(item) for item in walk(node) if isinstance(item, Call))


def _takes_both_signs(call: Call) -> bool:
    match call:
        case Call(function="abs"):
            return contains(call, Symbol)
        case Call(function="log", arguments=(Power(exponent=Number(value=power)) as argument, *_)):
            return power.denominator == 1 and power.numerator % 2 == 0 and contains(argument, Symbol)
    return False


def with_gamma(node: Node) -> Any:
    r"""Return the node with ``\Gamma`` before a factor, which is read as a product, as the gamma function of it."""
    if isinstance(node, Product):
        factors: list[Node] = []
        for factor in map(with_gamma, node.factors):
            if factors and factors[-1] == Symbol("Gamma"):
                # An exponent is the value's: ``\\Gamma(x)^2`` is the square of ``\\Gamma(x)``.
                factors[-1] = (
                    Power(Call("gamma", (factor.base,)), factor.exponent)
                    if isinstance(factor, Power)
                    else Call("gamma", (factor,))
                )
            else:
                factors.append(factor)
        return factors[0] if len(factors) == 1 else Product(tuple(factors))
    return rebuild(node, with_gamma)


def _map_entries(array: Matrix | Sequence, change: Callable[[Node], Node]) -> Node:
    if isinstance(array, Sequence):
        return Sequence(tuple(change(item) for item in array.items), array.left, array.right)
    return Matrix(tuple(tuple(change(entry) for entry in row) for row in array.rows))


def letters(node: Node) -> str | None:
    """Return the word that a product of single letters spells, if a tree is one: ``yes`` is read as y e s."""
    parts = node.factors if isinstance(node, Product) else (node,)
    names = [getattr(part, "name", None) for part in parts]
    return "".join(str(name) for name in names) if all(isinstance(name, str) for name in names) else None
