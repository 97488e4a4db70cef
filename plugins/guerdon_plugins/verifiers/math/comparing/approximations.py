r"""A value next to its approximation: ``50\sqrt3 m \approx 86.6 m``."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.alignment import aligned
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, names_in
from guerdon_plugins.verifiers.math.comparing.relations import ROUNDED, is_label
from guerdon_plugins.verifiers.math.comparing.rounding import is_rounding
from guerdon_plugins.verifiers.math.comparing.scalars import POINT_PRECISION
from guerdon_plugins.verifiers.math.nodes import SCALARS, Node, Quantity, Relation


def exact_and_rounded(node: Node) -> tuple[Node, Node] | None:
    r"""Both values of ``exact \approx rounded``, under their label; ``None`` for other nodes."""
    if not isinstance(node, Relation) or node.operators[-1] != "≈":
        return None
    *before, exact, rounded = node.operands
    if (not before and is_label(exact)) or not set(node.operators[:-1]) <= {"="}:
        return None
    if isinstance(rounded, Quantity) and isinstance(exact, SCALARS):
        exact = Quantity(exact, rounded.unit)
    if not _close(*aligned(rounded, exact)):
        return None
    if not before:
        return exact, rounded
    signs = node.operators[:-1]
    return Relation((*before, exact), signs), Relation((*before[:-1], before[-1], rounded), signs)


def _close(rounded: Node, exact: Node) -> bool:
    match rounded, exact:
        case Quantity(unit=left), Quantity(unit=right):
            return left == right and _close(rounded.value, exact.value)
    if not isinstance(rounded, SCALARS) or not isinstance(exact, SCALARS):
        return False
    names = names_in(exact)
    if names != names_in(rounded):
        return False
    try:
        values = [
            Evaluator(POINT_PRECISION, dict.fromkeys(names, Fraction(3, 2)), Budget()).value(side)
            for side in (rounded, exact)
        ]
    except (ArithmeticError, KeyError):
        return False
    return bool(abs(values[0] - values[1]) <= ROUNDED * abs(values[1]))


def is_true_rounding(exact: Node, rounded: Node) -> bool:
    """Return whether a value was rounded to its last digit, so that the rounded one may answer for it."""
    if isinstance(exact, Relation) and isinstance(rounded, Relation):
        return is_true_rounding(exact.operands[-1], rounded.operands[-1])
    if isinstance(exact, Quantity) and isinstance(rounded, Quantity):
        return exact.unit == rounded.unit and is_true_rounding(exact.value, rounded.value)
    return is_rounding(rounded, exact, Budget())
