r"""Families of numbers with an index: ``\frac{\pi}{2} + k\pi, k \in \mathbb{Z}``, compared as sets of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import Domain
from guerdon_plugins.verifiers.math.comparing.exact import UndefinedError
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, context, names_in
from guerdon_plugins.verifiers.math.comparing.scalars import PRECISION, same_value
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.nodes import MINUS_ONE, Node, Power, Product, Sum, Symbol, integer, negate

MAX_DENOMINATOR = 720
MAX_RESIDUES = 2_000
_SAME = Fraction(1, 2**150)


class NotFamilyError(ValueError):
    """The bodies are not arithmetic progressions of numbers, or have no common step."""


@dataclass(frozen=True, slots=True)
class _Progression:
    start: Any
    step: Any


def same_families(
    reference: list[Node], answer: list[Node], letter: str, domains: tuple[Domain, Domain], budget: Budget
) -> bool:
    """Return whether two unions of arithmetic progressions are the same set.

    Raises:
        NotFamilyError: A body is not a progression of numbers in the letter.
    """
    left, right = (
        [
            _progression(part, letter, domain, budget)
            for body in bodies
            for part in _by_parity(body, letter, domain)
        ]
        for bodies, domain in zip((reference, answer), domains, strict=True)
    )
    endless = [domain.low is None and domain.high is None for domain in domains]
    if any(not domain.whole or domain.without for domain in domains):
        raise NotFamilyError
    if all(endless):
        return _same_cycles(left, right)
    if any(endless) or any(domain.low is None or domain.high is not None for domain in domains):
        return False
    return _same_rays(left, right)


def _by_parity(body: Node, letter: str, domain: Domain) -> list[Node]:
    """Return a body with ``(-1)^k`` as two: one for even indices and one for odd ones."""
    alternating = any(
        isinstance(item, Power) and item.base == MINUS_ONE and letter in names_in(item.exponent)
        for item in walk(body)
    )
    if not alternating or domain.low is not None:
        return [body]
    even = Product((integer(2), Symbol(letter)))
    return [substitute(body, letter, even), substitute(body, letter, Sum((even, integer(1))))]


def _progression(body: Node, letter: str, domain: Domain, budget: Budget) -> _Progression:
    if not names_in(body) <= {letter}:
        raise NotFamilyError
    start = substitute(body, letter, integer(0))
    step = Sum((substitute(body, letter, integer(1)), negate(start)))
    if letter in names_in(body) and not same_value(
        body, Sum((start, Product((step, Symbol(letter))))), budget
    ):
        raise NotFamilyError
    evaluator = Evaluator(PRECISION, {}, budget)
    try:
        first, size = evaluator.value(start), evaluator.value(step)
    except (UndefinedError, UndecidedError, OverflowError) as error:
        raise NotFamilyError from error
    if domain.low is not None:
        first = first + size * domain.low.numerator / domain.low.denominator
    return _Progression(first, size)


def _same_cycles(reference: list[_Progression], answer: list[_Progression]) -> bool:
    """Compare both as residues modulo a common multiple of all steps."""
    unit = next((abs(item.step) for item in reference if item.step), None)
    if unit is None or any(not item.step for item in (*reference, *answer)):
        raise NotFamilyError
    ratios = [[_ratio(abs(item.step) / unit) for item in side] for side in (reference, answer)]
    flat = [ratio for side in ratios for ratio in side]
    period = Fraction(
        math.lcm(*(ratio.numerator for ratio in flat)), math.gcd(*(ratio.denominator for ratio in flat))
    )
    if sum(period / ratio for ratio in flat) > MAX_RESIDUES:
        raise NotFamilyError
    left, right = (
        _residues([(item.start / unit, ratio) for item, ratio in zip(side, steps, strict=True)], period)
        for side, steps in zip((reference, answer), ratios, strict=True)
    )
    return len(left) == len(right) and all(_equal(*pair) for pair in zip(left, right, strict=True))


def _ratio(value: Any) -> Fraction:
    """Return a rational that a value is to all its digits."""
    exact = Fraction(int(value * 2**200), 2**200)
    simple = exact.limit_denominator(MAX_DENOMINATOR)
    if abs(simple - exact) > _SAME:
        raise NotFamilyError
    return simple


def _residues(progressions: list[tuple[Any, Fraction]], period: Fraction) -> list[Any]:
    ctx = context(PRECISION)
    length = ctx.mpf(period.numerator) / period.denominator
    found = []
    for start, step in progressions:
        for index in range(int(period / step)):
            residue = (start + ctx.mpf(index * step.numerator) / step.denominator) % length
            found.append(ctx.zero if _equal(residue, length) else residue)
    found.sort()
    return [value for index, value in enumerate(found) if not index or not _equal(value, found[index - 1])]


def _same_rays(reference: list[_Progression], answer: list[_Progression]) -> bool:
    left = list(answer)
    for item in reference:
        found = next(
            (other for other in left if _equal(item.start, other.start) and _equal(item.step, other.step)),
            None,
        )
        if found is None:
            return False
        left.remove(found)
    return not left


def _equal(left: Any, right: Any) -> bool:
    return bool(abs(left - right) < 2.0**-150 * (1 + abs(left)))
