r"""The value of infinite sums and products that converge: ``\sum 1/k^2`` against ``\frac{\pi^2}{6}``.

The value comes from the first terms by extrapolation, which gives values to series that diverge as well:
``1 - 1 + 1 - …`` is one half to it. So the partial sums must come near the value, and the terms far out must be small.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.numeric import (
    Evaluator,
    UndecidedError,
    context,
    is_complex,
    names_in,
)
from guerdon_plugins.verifiers.math.comparing.series import INDEX, from_zero
from guerdon_plugins.verifiers.math.comparing.trees import contains
from guerdon_plugins.verifiers.math.errors import TooLargeError
from guerdon_plugins.verifiers.math.nodes import Apply, Constant, Node, Standing, Symbol

__all__ = ["same_limit"]

_PRECISION = 600
_AGREEING_BITS = 170
"""On which two values must agree: 51 digits, so that no decimal of a usual length is a closed form."""
_TERMS = (70, 110)
"""How many terms the two extrapolations take that must agree."""
_CHECKED = (16, 32, 64)
"""How many terms the partial sums have that must come near the value."""
_FAR_OUT = (1_000, 30_000)
_MOST_LOST = 64
"""Bits; the extrapolation loses up to 300 itself."""


def same_limit(reference: Node, answer: Node) -> bool | None:
    """Return whether a reference with infinite sums or products has an answer's value.

    ``None`` where the reference has letters, or its convergence could not be shown.
    """
    if contains(answer, Standing) or contains(answer, Apply) or names_in(answer) or is_complex(answer):
        return None
    try:
        left = _LimitEvaluator(Budget()).value(reference)
        right = Evaluator(_PRECISION, {}, Budget()).value(answer)
    except (ArithmeticError, KeyError, TooLargeError):
        return None
    ctx = context(_PRECISION)
    return bool(abs(left - right) <= ctx.ldexp(1, -_AGREEING_BITS) * max(abs(left), abs(right)))


class _LimitEvaluator(Evaluator):
    """An evaluator that knows the values of infinite sums and products."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(_PRECISION, {}, budget)
        self._terms = budget

    def _value(self, node: Node) -> Any:
        if not isinstance(node, Apply | Symbol | Standing):
            return super()._value(node)
        match node:
            case Apply() | Symbol():
                raise UndecidedError("a letter or an unknown function")
            case Standing(
                operator="sum" | "prod" as operator,
                variable=str(name),
                parts=(body, lower, Constant(name="infinity")),
            ) if not contains(body, Standing):
                term = from_zero(body, name, lower, self._terms)
                if term is not None and names_in(term) <= {INDEX} and not contains(term, Apply):
                    value = self._limit(term, logarithms=operator == "prod")
                    return value if operator == "sum" else self.ctx.exp(value)
        raise UndecidedError("an operation that is not evaluated")

    def _limit(self, term: Node, *, logarithms: bool) -> Any:
        """Return the sum of all terms, or of their logarithms.

        Raises:
            UndecidedError: It could not be shown to converge.
        """
        ctx = self.ctx
        known: dict[int, Any] = {}

        def at(place: int) -> Any:
            if place not in known:
                evaluator = Evaluator(_PRECISION, {INDEX: Fraction(place)}, self._terms)
                value = evaluator.value(term)
                if (place < _TERMS[-1] and evaluator.lost > _MOST_LOST) or (logarithms and value <= 0):
                    raise UndecidedError("a term that is not known to enough digits")
                known[place] = ctx.ln(value) if logarithms else value
            return known[place]

        sums = [at(0)]
        for place in range(1, _TERMS[-1]):
            sums.append(sums[-1] + at(place))
        estimates = [ctx.levin(method="levin", variant="u").update_psum(sums[:count])[0] for count in _TERMS]
        total = estimates[-1]
        smallest = ctx.ldexp(1, -_AGREEING_BITS) * max(1, abs(total))
        if abs(total - estimates[0]) > smallest:
            raise UndecidedError("a series that converges too slowly")
        misses = [abs(total - sums[count]) for count in _CHECKED]
        terms = [abs(at(place)) for place in (_CHECKED[-1], *_FAR_OUT)]
        for values, part in ((misses, Fraction(9, 10)), (terms, Fraction(1, 2))):
            for before, after in itertools.pairwise(values):
                if after > smallest and after * part.denominator > before * part.numerator:
                    raise UndecidedError("a series that may not converge")
        return total
