r"""General solutions with several constants: ``C_1e^x + C_2e^{-x}`` and ``A\cosh x + B\sinh x``.

Both are a function plus any combination of some functions. Two such families are equal if and only if their functions
span the same space, and the difference of the functions apart lies in it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, context, is_complex, names_in
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body, same_label
from guerdon_plugins.verifiers.math.comparing.trees import contains
from guerdon_plugins.verifiers.math.nodes import SCALARS, Node, PlusMinus, Standing

__all__ = ["same_linear_family"]

_CONSTANT = re.compile(r"[Cc]_\d|[A-D]")
_OF_INTEGRATION = re.compile(r"[Cc]_\d")
"""Constants that no question gives, unlike ``A`` and ``B``: one side at least must have these."""
_VARIABLES = ("x", "t")
_PRECISION = 400
_ZERO = 200
"""Bits: what is smaller than this part of its terms is zero."""
_MOST_CONSTANTS = 4
_PARAMETERS = (Fraction(7, 5), Fraction(11, 13))
"""At which other letters are compared."""
_CHECKS = 4
"""Points at which the combinations that other points give must hold."""


def same_linear_family(reference: Node, answer: Node, budget: Budget) -> bool:
    """Return whether two general solutions hold the same functions."""
    labels, bodies = zip(*map(label_and_body, (reference, answer)), strict=True)
    if not all(isinstance(body, SCALARS) for body in bodies):
        return False
    if labels[0] and labels[1] and not same_label(labels[0], labels[1]):
        return False
    names = [names_in(body) for body in bodies]
    constants = [sorted(name for name in found if _CONSTANT.fullmatch(name)) for found in names]
    others = [found.difference(letters) for found, letters in zip(names, constants, strict=True)]
    if not 2 <= len(constants[0]) == len(constants[1]) <= _MOST_CONSTANTS or others[0] != others[1]:
        return False
    if not any(all(_OF_INTEGRATION.fullmatch(name) for name in letters) for letters in constants):
        return False
    variables = [name for name in _VARIABLES if name in others[0]]
    if len(variables) != 1 or any(
        contains(body, Standing) or contains(body, PlusMinus) or is_complex(body) for body in bodies
    ):
        return False
    return all(
        _same_space(bodies, constants, variables[0], dict.fromkeys(others[0], value), budget)
        for value in (_PARAMETERS if len(others[0]) > 1 else _PARAMETERS[:1])
    )


def _same_space(
    bodies: tuple[Node, ...],
    constants: list[list[str]],
    variable: str,
    parameters: dict[str, Fraction],
    budget: Budget,
) -> bool:
    size = len(constants[0])
    places = [Fraction(2 * index + 1, 5) for index in range(size + _CHECKS)]
    tables = []
    for body, letters in zip(bodies, constants, strict=True):
        rows = [
            row
            for place in places
            if (row := _at(body, letters, {**parameters, variable: place}, budget)) is not None
        ]
        if len(rows) < len(places):
            return False
        tables.append(rows)
    ctx = context(_PRECISION)
    left, right = (ctx.matrix([row[1:] for row in rows]) for rows in tables)
    apart = ctx.matrix([[one[0] - other[0]] for one, other in zip(*tables, strict=True)])
    if not (_has_full_rank(ctx, left[:size, :]) and _has_full_rank(ctx, right[:size, :])):
        return False
    for known, wanted in ((left, right), (left, apart)):
        combination = ctx.inverse(known[:size, :]) * wanted[:size, :]
        misses = known * combination - wanted
        scale = 1 + max(abs(entry) for entry in [*known, *wanted]) * (
            1 + max(abs(entry) for entry in combination)
        )
        if any(abs(entry) > ctx.ldexp(scale, -_ZERO) for entry in misses):
            return False
    return True


def _at(body: Node, letters: list[str], point: dict[str, Fraction], budget: Budget) -> list[Any] | None:
    """Return the value without constants, and what each constant adds for each unit; ``None`` if that is not linear."""

    def value(*amounts: int) -> Any:
        given = {**point, **dict(zip(letters, map(Fraction, amounts), strict=True))}
        evaluator = Evaluator(_PRECISION, given, budget)
        return evaluator.value(body)

    size = len(letters)
    ctx = context(_PRECISION)
    apart = value(*[0] * size)
    units = [value(*(int(place == index) for place in range(size))) - apart for index in range(size)]
    for amounts in ([2, -3, 5, 7][:size], [-1, 4, 1, -6][:size]):
        expected = apart + ctx.fsum(amount * unit for amount, unit in zip(amounts, units, strict=True))
        scale = 1 + abs(apart) + ctx.fsum(map(abs, units))
        if abs(value(*amounts) - expected) > ctx.ldexp(scale, -_ZERO):
            return None
    return [apart, *units]


def _has_full_rank(ctx: Any, matrix: Any) -> bool:
    size = max(abs(entry) for entry in matrix)
    return bool(abs(ctx.det(matrix)) > ctx.ldexp((1 + size) ** matrix.rows, -_ZERO // 2))
