r"""Lists with dots: ``1, 2, \ldots, n`` and ``1, 2, 3, \ldots, n`` show one pattern."""

from __future__ import annotations

from collections.abc import Sequence as Many
from fractions import Fraction
from itertools import pairwise

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Dots,
    Listing,
    NamedSet,
    Node,
    Number,
    Product,
    Relation,
    SetBuilder,
    Sum,
    Symbol,
    integer,
    negate,
)

_MAX_ITEMS = 500
_SAMPLES = (1009, 2003)
"""Values of the letters at which the last two items must have the pattern's step between them."""


def written_out(items: Many[Node], budget: Budget) -> tuple[Node, ...]:
    """Return an arithmetic pattern in one form: all of its items if both ends are numbers, else two before the dots.

    Other patterns are returned as they are: their next items are not known.
    """
    places = [place for place, item in enumerate(items) if isinstance(item, Dots)]
    if len(places) != 1:
        return tuple(items)
    before, after = list(items[: places[0]]), list(items[places[0] + 1 :])
    numbers = [item.value for item in before if isinstance(item, Number)]
    step = _step(numbers) if len(numbers) == len(before) else None
    if step is None:
        return tuple(items)
    while len(after) > 1 and _apart(after[-2], after[-1], step, budget):
        del after[-2]
    if len(after) == 1 and isinstance(last := after[0], Number):
        count = (last.value - numbers[0]) / step
        if count.denominator != 1 or len(before) > count:
            return tuple(items)
        if count < _MAX_ITEMS:
            return tuple(Number(numbers[0] + place * step) for place in range(int(count) + 1))
    return Number(numbers[0]), Number(numbers[0] + step), Dots(), *after


def progression(items: Many[Node]) -> SetBuilder | None:
    r"""Return ``2, 4, 6, \ldots`` as the set of ``2 + 2k``, ``k`` from 0; ``None`` for fewer than three numbers."""
    numbers = [item.value for item in items if isinstance(item, Number)]
    step = _step(numbers) if len(numbers) == len(items) > 2 else None
    if step is None:
        return None
    letter = Symbol("k")
    element = Sum((Number(numbers[0]), Product((Number(step), letter))))
    return SetBuilder(element, Relation((letter, NamedSet("N")), ("∈",)))


def from_first(items: Many[Node]) -> Listing | None:
    r"""Return ``n = 3, 4, 5, \ldots`` as ``n \ge 3`` among the integers; ``None`` for other lists."""
    match items:
        case (Relation(operands=(Symbol() as letter, Number() as first), operators=("=",)), *rest, Dots()):
            numbers = [item.value for item in rest if isinstance(item, Number)]
            if numbers == [first.value + place for place in range(1, len(rest) + 1)]:
                whole = Relation((letter, NamedSet("Z")), ("∈",))
                return Listing((Relation((letter, first), ("≥",)), whole), ",")
    return None


def _step(numbers: list[Fraction]) -> Fraction | None:
    """Return the step between the numbers before the dots; of one whole number it is 1."""
    if len(numbers) == 1 and numbers[0].denominator == 1:
        return Fraction(1)
    steps = {right - left for left, right in pairwise(numbers)}
    return steps.pop() if len(steps) == 1 and 0 not in steps else None


def _apart(left: Node, right: Node, step: Fraction, budget: Budget) -> bool:
    """Return whether one item is a step before the other, whatever their letters are."""
    if not isinstance(left, SCALARS) or not isinstance(right, SCALARS):
        return False
    difference: Node = Sum((right, negate(left)))
    try:
        for sample in _SAMPLES:
            here = difference
            for name in names_in(difference):
                here = substitute(here, name, integer(sample))
            if rational(here, budget) != step:
                return False
    except (NotExactError, UndefinedError):
        return False
    return True
