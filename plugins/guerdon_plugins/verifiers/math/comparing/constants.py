"""Constants of integration: any letter may name them, and their order says nothing."""

from __future__ import annotations

from collections.abc import Sequence as Many
from fractions import Fraction
from itertools import permutations

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.errors import TooLargeError
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    Symbol,
    negate,
)

_INDEPENDENT = frozenset("xt")
_OF_INTEGRATION = frozenset(("C", "c", "C_0", "C_1", "c_1"))
_ONE_CONSTANT = _OF_INTEGRATION | frozenset("AKk")
_MAX_CONSTANTS = 3
"""More are tried in their own order only."""
_MOST_NAMES = 9
_PLACES = (Fraction(9, 7), Fraction(2, 7), Fraction(-9, 7), Fraction(30, 7))
"""Where two antiderivatives are made to agree: the first at which both have a value."""
_PRECISION = 100


def with_renamed_constants(reference: Node, answer: Node) -> Node:
    """Return the answer with its constants of integration ``C_1``, ``C_2`` in the reference's order."""
    answer = _with_renamed_constant(reference, answer)
    constants = _constants(reference) or _other_constants(answer, reference)
    if 1 < len(constants) <= _MOST_NAMES and constants != (given := _other_constants(reference, answer)):
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
    """Return the answer with the reference's letter for the only constant of integration: ``Ce^x``, ``x^2 + c``."""
    left, right = (
        {name for part in _formulas(node) for name in names_in(part)} for node in (reference, answer)
    )
    if not (len(left - right) == len(right - left) == 1 and left & _INDEPENDENT):
        return answer
    (wanted,), (given,) = left - right, right - left
    names = {wanted, given}
    if not isinstance(reference, Relation) and not isinstance(answer, Relation):
        solves = _scales_exponential(reference, wanted) and _scales_exponential(answer, given)
        is_added = Symbol(wanted) in _terms(reference) and Symbol(given) in _terms(answer)
        if names != {"C", "c"} or not (solves or (is_added and left - names <= _INDEPENDENT)):
            return answer
    return (
        _renamed(answer, [given], [wanted]) if names <= _ONE_CONSTANT and names & _OF_INTEGRATION else answer
    )


def _terms(node: Node) -> Many[Node]:
    return node.terms if isinstance(node, Sum) else ()


def _scales_exponential(node: Node, name: str) -> bool:
    """Return whether a letter is a factor of an exponential, as in the solution of a differential equation."""
    return any(
        isinstance(item, Product)
        and Symbol(name) in item.factors
        and any(isinstance(factor, Power) and factor.base == Constant("e") for factor in item.factors)
        for item in walk(node)
    )


def with_the_same_integral(reference: Node, answer: Node) -> Node | None:
    r"""Return the answer with its ``+ C`` moved so that both agree at one point; ``None`` without ``C`` on both sides.

    ``\frac12\tan^2 x + C`` and ``\frac12\sec^2 x + C`` are the same antiderivatives.
    """
    left, right = _without_constant(reference), _without_constant(answer)
    if left is None or right is None or len(names_in(left)) != 1 or names_in(left) != names_in(right):
        return None
    (letter,) = names_in(left)
    for place in _PLACES:
        here, there = (substitute(rest, letter, Number(place)) for rest in (left, right))
        if _has_value(here) and _has_value(there):
            return Sum((right, negate(there), here, Symbol("C")))
    return None


def _has_value(node: Node) -> bool:
    try:
        Evaluator(_PRECISION, {}, Budget()).value(node)
    except (ArithmeticError, ValueError, KeyError, TooLargeError):
        return False
    return True


def _without_constant(node: Node) -> Node | None:
    """Return a sum without its only ``C``."""
    if not isinstance(node, Sum) or Symbol("C") not in node.terms:
        return None
    rest = Sum(tuple(term for term in node.terms if term != Symbol("C")))
    return rest if len(rest.terms) == len(node.terms) - 1 and "C" not in names_in(rest) else None


def _constants(node: Node) -> list[str]:
    names = set().union(*(names_in(part) for part in _operands(node)))
    return sorted(name for name in names if name[:2] in ("C_", "c_") and name[2:].isdigit())


def _other_constants(reference: Node, answer: Node) -> list[str]:
    """Return the letters for the reference's constants of integration: ``A``, ``B`` or ``c_1``, ``c_2``."""
    left, right = (set().union(*(names_in(part) for part in _operands(node))) for node in (reference, answer))
    return sorted(name for name in right - left if name in "ABCD" or name[:2] in ("C_", "c_"))


def _formulas(node: Node) -> Many[Node]:
    """Return the sides of an equation, without the name of a function on the left."""
    operands = _operands(node)
    return operands[1:] if len(operands) == 2 and isinstance(operands[0], Symbol | Apply) else operands


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
