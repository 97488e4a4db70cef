r"""Residue classes written as sums: ``n = 4k + 1`` against ``n \equiv 1 \pmod 4``."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.declarations import split_declarations
from guerdon_plugins.verifiers.math.comparing.domains import INTEGERS
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import SCALARS, Congruence, Node, Number, Relation, Text, integer

_INDEX_LETTERS = frozenset("kmnjlpqrst")
_SAMPLES = (2, -1, 7, -30, 1009)
"""Values of the index at which a sum must lie on the line through its values at 0 and 1."""


def as_congruence(node: Node, budget: Budget) -> Node:
    """Return ``n = 4k + 1``, with an integer ``k``, as a congruence of ``n``; every other node as it is."""
    declared = split_declarations(node, budget)
    match declared.body:
        case Relation(operands=(Number() as divisor, of), operators=("∣",)):
            return Congruence(of, integer(0), divisor)
        case Relation(operands=(left, right), operators=("=",)):
            pass
        case body if isinstance(body, SCALARS):
            left, right = Text(""), body
        case _:
            return node
    letters = names_in(right)
    if len(letters) != 1 or letters & names_in(left) or not isinstance(right, SCALARS):
        return node
    (letter,) = letters
    if letter not in _INDEX_LETTERS or declared.domains.get(letter, INTEGERS) != INTEGERS:
        return node
    try:
        start = _value(right, letter, 0, budget)
        step = _value(right, letter, 1, budget) - start
        linear = all(_value(right, letter, place, budget) == start + place * step for place in _SAMPLES)
    except (NotExactError, UndefinedError):
        return node
    if not linear or not step or start.denominator != 1 or step.denominator != 1:
        return node
    return Congruence(left, integer(int(start)), integer(abs(int(step))))


def _value(node: Node, letter: str, place: int, budget: Budget) -> Fraction:
    return rational(substitute(node, letter, integer(place)), budget)
