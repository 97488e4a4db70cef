"""Whether a decimal is the rounding of an exact value."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, names_in
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import Node, Number, Standing

__all__ = ["is_rounding"]

_ENOUGH_DIGITS = 6
"""So many digits may be cut off rather than rounded."""
_PRECISION = 160
_MOST_PLACES = 40


def is_rounding(rounded: Node, exact: Node, budget: Budget) -> bool:
    """Return whether a decimal is a value without letters, rounded to its last digit; many digits may be cut off."""
    if not isinstance(rounded, Number) or names_in(exact):
        return False
    if any(isinstance(item, Standing) for item in walk(exact)):
        return False
    try:
        value = Evaluator(_PRECISION, {}, budget).value(exact)
    except (ArithmeticError, KeyError):
        return False
    written, places = _written(rounded.value)
    scaled = value * 10**places
    error = abs(scaled - written)
    cut_off = len(str(abs(written))) >= _ENOUGH_DIGITS and abs(scaled) > abs(written)
    return bool(error <= 0.5 or (error < 1 and cut_off))


def _written(value: Fraction) -> tuple[int, int]:
    """Return the digits of a decimal as a whole number, and how many of them come after the point."""
    places = 0
    while value.denominator > 1 and places < _MOST_PLACES:
        value *= 10
        places += 1
    return int(value), places
