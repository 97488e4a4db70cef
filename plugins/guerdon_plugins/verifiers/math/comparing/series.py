r"""Sums, integrals and limits left standing on both sides: equal where their terms are, in another order or start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import Domain, Domains
from guerdon_plugins.verifiers.math.comparing.exact import rational
from guerdon_plugins.verifiers.math.comparing.trees import contains, rebuild, substitute
from guerdon_plugins.verifiers.math.nodes import (
    Constant,
    Dots,
    Node,
    Number,
    Product,
    Quotient,
    Standing,
    Sum,
    Symbol,
    integer,
)

__all__ = ["INDEX", "from_zero", "same_series"]

INDEX = "n′"
"""The index of all series that are compared; no answer holds this letter."""
_FROM_ZERO = Domain(whole=True, low=Fraction(0), name="N")
_MOST_MOVED = 3
"""First terms that one side may write apart from its sum."""
_MOST_TERMS = 12

Same = Callable[[Node, Node, Domains], bool]


@dataclass(frozen=True, slots=True)
class _Series:
    """A sum over the index from 0 to infinity, and what is added to it."""

    apart: Node
    term: Node

    def moved(self) -> _Series:
        """Return the same with its first term apart."""
        first: Node = substitute(self.term, INDEX, integer(0))
        later: Node = substitute(self.term, INDEX, Sum((Symbol(INDEX), integer(1))))
        return _Series(Sum((self.apart, first)), later)

    def without_gaps(self, same: Same) -> _Series:
        """Return the same without the terms of even or of odd index, where all of these are zero."""
        twice = Product((integer(2), Symbol(INDEX)))
        even: Node = substitute(self.term, INDEX, twice)
        odd: Node = substitute(self.term, INDEX, Sum((twice, integer(1))))
        for zero, rest in ((even, odd), (odd, even)):
            if same(integer(0), zero, {INDEX: _FROM_ZERO}):
                return _Series(self.apart, rest)
        return self


def same_series(reference: Node, answer: Node, budget: Budget, domains: Domains, same: Same) -> bool:
    """Return whether two expressions with infinite sums have equal terms, whatever the index and where it starts.

    Terms decide: what converges to one value by other terms is not found equal.
    """
    if contains(reference, Dots) or contains(answer, Dots):
        return _same_written_terms(reference, answer, domains, same)
    sides = [_series(node, budget) for node in (reference, answer)]
    left, right = sides
    if left is None or right is None:
        return False
    where = {**domains, INDEX: _FROM_ZERO}

    def equal(one: _Series, other: _Series) -> bool:
        return same(one.apart, other.apart, domains) and same(one.term, other.term, where)

    if equal(left, right):
        return True
    for fixed, moving in ((left, right), (right, left)):
        for _ in range(_MOST_MOVED):
            moving = moving.moved()
            if equal(fixed, moving):
                return True
    closed = [
        side.without_gaps(lambda one, other, more: same(one, other, {**domains, **more}))
        for side in (left, right)
    ]
    return closed != [left, right] and equal(closed[0], closed[1])


def _same_written_terms(reference: Node, answer: Node, domains: Domains, same: Same) -> bool:
    """Compare sums with dots, term by term."""
    sides = [node.terms if isinstance(node, Sum) else () for node in (reference, answer)]
    if not 2 < len(sides[0]) == len(sides[1]) <= _MOST_TERMS:
        return False
    for left, right in zip(*sides, strict=True):
        if _is_dots(left) != _is_dots(right):
            return False
        if not _is_dots(left) and (
            contains(left, Dots) or contains(right, Dots) or not same(left, right, domains)
        ):
            return False
    return True


def _is_dots(node: Node) -> bool:
    """Return whether a term is dots, under the sign of the term that they leave out."""
    return isinstance(node, Dots) or (
        isinstance(node, Product) and any(isinstance(item, Dots) for item in node.factors)
    )


def _series(node: Node, budget: Budget) -> _Series | None:
    """Return an expression as one series; ``None`` where infinite sums are not its terms, up to a factor."""
    terms = node.terms if isinstance(node, Sum) else (node,)
    if len(terms) > _MOST_TERMS:
        return None
    apart: list[Node] = []
    summed: list[Node] = []
    for term in terms:
        if not contains(term, Standing):
            apart.append(term)
        elif (found := _term(term, budget)) is not None:
            summed.append(found)
        else:
            return None
    if not summed:
        return None
    return _Series(_added(apart), _added(summed))


def _added(terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Sum(tuple(terms)) if terms else integer(0)


def _term(node: Node, budget: Budget) -> Node | None:
    """Return the term of one infinite sum under the common index, with the factors before the sum."""
    match node:
        case Standing(operator="sum", variable=str(name), parts=(body, lower, Constant(name="infinity"))):
            return None if contains(body, Standing) else from_zero(body, name, lower, budget)
        case Product(factors=factors):
            inside = [factor for factor in factors if contains(factor, Standing)]
            rest = tuple(factor for factor in factors if not contains(factor, Standing))
            found = _term(inside[0], budget) if len(inside) == 1 else None
            return None if found is None else Product((*rest, found))
        case Quotient(numerator=above, denominator=below) if not contains(below, Standing):
            found = _term(above, budget)
            return None if found is None else Quotient(found, below)
    return None


def from_zero(body: Node, name: str, lower: Node, budget: Budget) -> Node | None:
    """Return the body of a sum in the common index, which starts at zero; ``None`` for a start that is not whole."""
    try:
        start = rational(lower, budget)
    except ArithmeticError:
        return None
    if start.denominator != 1:
        return None
    index: Node = Symbol(INDEX) if not start else Sum((Symbol(INDEX), Number(start)))
    return _replaced(body, name, index)


def _replaced(body: Node, name: str, index: Node) -> Node:
    if name in ("i", "e"):  # the index is read as a constant inside of the sum
        return _with_constant(body, name, index)
    result: Node = substitute(body, name, index)
    return result


def _with_constant(node: Node, name: str, index: Node) -> Node:
    if node == Constant(name):
        return index
    result: Node = rebuild(node, lambda child: _with_constant(child, name, index))
    return result
