"""Numbers that were rounded: two expressions are close if every written decimal is, and all else is equal.

Both sides are expanded into terms: a coefficient times powers of what is not a number. Terms are matched one to one.
A coefficient that comes from a decimal may be off by the tolerance: ``0.5x + 0.33`` is close to ``0.5x + 0.333`` and
not to ``0.5x + 0.5``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, is_complex, names_in
from guerdon_plugins.verifiers.math.comparing.scalars import POINT_PRECISION
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
)

MAX_TERMS = 64
MAX_EXPANDED_POWER = 6
_EXACT = 2.0**-90


class _NoTermsError(ValueError):
    """The expression has no value, or more terms than are expanded."""


@dataclass(frozen=True, slots=True)
class _Term:
    coefficient: Any
    rounded: bool
    """The coefficient comes from a written decimal."""
    powers: tuple[tuple[Node, Fraction], ...]
    """What is not a number, with exponents."""


def has_decimal(node: Node) -> bool:
    """Return whether a number with a decimal point occurs anywhere in a tree."""
    return any(isinstance(item, Number) and item.decimal for item in walk(node))


class Closeness:
    """Compares within a relative tolerance.

    Args:
        tolerance: Largest relative error of a written decimal.
        budget: What the comparison may spend.
    """

    def __init__(self, tolerance: float, budget: Budget) -> None:
        self._tolerance = tolerance
        self._budget = budget

    def close(self, reference: Node, answer: Node) -> bool:
        """Return whether two scalar expressions are equal but for decimals that differ within the tolerance."""
        if not self._concerns(reference, answer):
            return False
        try:
            return self._match(self._terms(reference), self._terms(answer))
        except _NoTermsError:
            return False

    def proportional(self, reference: Node, answer: Node, *, directed: bool) -> bool:
        """Return whether one expression is close to a constant, not zero, times the other; positive if directed."""
        if not self._concerns(reference, answer):
            return False
        try:
            left, right = self._terms(reference), self._terms(answer)
        except _NoTermsError:
            return False
        for first, second in itertools.product(left[:1], right):
            if self._same_powers(first, second):
                factor = first.coefficient / second.coefficient
                if directed and factor < 0:
                    return False
                scaled = [
                    _Term(
                        term.coefficient * factor,
                        term.rounded or second.rounded or first.rounded,
                        term.powers,
                    )
                    for term in right
                ]
                return self._match(left, scaled)
        return False

    def _concerns(self, reference: Node, answer: Node) -> bool:
        scalars = isinstance(reference, SCALARS) and isinstance(answer, SCALARS)
        return bool(self._tolerance) and scalars and (has_decimal(reference) or has_decimal(answer))

    def _match(self, reference: list[_Term], answer: list[_Term]) -> bool:
        left = list(answer)
        for term in reference:
            found = next((other for other in left if self._same_term(term, other)), None)
            if found is None:
                return False
            left.remove(found)
        return not left

    def _same_term(self, reference: _Term, answer: _Term) -> bool:
        error = abs(reference.coefficient - answer.coefficient)
        allowed = self._tolerance if reference.rounded or answer.rounded else _EXACT
        return bool(error <= allowed * abs(reference.coefficient)) and self._same_powers(reference, answer)

    def _same_powers(self, reference: _Term, answer: _Term) -> bool:
        left = list(answer.powers)
        for base, exponent in reference.powers:
            found = next(
                (other for other in left if other[1] == exponent and self._same_base(base, other[0])), None
            )
            if found is None:
                return False
            left.remove(found)
        return not left

    def _same_base(self, reference: Node, answer: Node) -> bool:
        if key(reference) == key(answer):
            return True
        match reference, answer:
            case (Call(function=name, arguments=left), Call(function=other, arguments=right)) | (
                Apply(name=name, arguments=left),
                Apply(name=other, arguments=right),
            ) if name == other and len(left) == len(right):
                return all(self._near(*pair) for pair in zip(left, right, strict=True))
            case Power(base=left, exponent=up), Power(base=right, exponent=high):
                return self._near(left, right) and self._near(up, high)
            case Sum(), Sum():
                return self.close(reference, answer)
        return False

    def _near(self, reference: Node, answer: Node) -> bool:
        return key(reference) == key(answer) or self.close(reference, answer)

    # Terms

    def _terms(self, node: Node) -> list[_Term]:
        merged: dict[str, _Term] = {}
        for term in self._expand(node):
            name = ",".join(sorted(f"{key(base)}^{exponent}" for base, exponent in term.powers))
            if name in merged:
                other = merged[name]
                term = _Term(other.coefficient + term.coefficient, other.rounded or term.rounded, term.powers)
            merged[name] = term
        return [term for term in merged.values() if term.coefficient]

    def _expand(self, node: Node) -> list[_Term]:
        self._budget.spend()
        if not names_in(node) and not is_complex(node) and not _is_unknown(node):
            return [_Term(self._value(node), has_decimal(node), ())]
        match node:
            case Sum(terms=terms):
                return _limited([part for term in terms for part in self._expand(term)])
            case Product(factors=factors):
                product = [self._one()]
                for factor in factors:
                    product = self._times(product, self._expand(factor))
                return product
            case Quotient(numerator=numerator, denominator=denominator):
                return self._times(self._expand(numerator), self._inverse(denominator))
            case Power(base=base, exponent=exponent):
                return self._power(base, exponent)
        return [_Term(self._one().coefficient, False, ((node, Fraction(1)),))]

    def _one(self) -> _Term:
        return _Term(self._value(Number(Fraction(1))), False, ())

    def _value(self, node: Node) -> Any:
        try:
            return Evaluator(POINT_PRECISION, {}, self._budget).value(node)
        except (UndefinedError, UndecidedError, OverflowError, KeyError) as error:
            raise _NoTermsError from error

    def _inverse(self, node: Node) -> list[_Term]:
        terms = self._expand(node)
        if len(terms) == 1 and terms[0].coefficient:
            term = terms[0]
            powers = tuple((base, -exponent) for base, exponent in term.powers)
            return [_Term(1 / term.coefficient, term.rounded, powers)]
        return [_Term(self._one().coefficient, False, ((node, Fraction(-1)),))]

    def _power(self, base: Node, exponent: Node) -> list[_Term]:
        whole = [_Term(self._one().coefficient, False, ((Power(base, exponent), Fraction(1)),))]
        if has_decimal(exponent):
            return whole
        try:
            power = rational(exponent, self._budget)
        except (NotExactError, UndefinedError):
            return whole
        terms = self._expand(base)
        if power.denominator == 1 and 0 < power <= MAX_EXPANDED_POWER:
            product = [self._one()]
            for _ in range(int(power)):
                product = self._times(product, terms)
            return product
        if len(terms) == 1 and terms[0].coefficient == 1:
            return [_Term(terms[0].coefficient, False, tuple((b, e * power) for b, e in terms[0].powers))]
        return whole

    def _times(self, left: list[_Term], right: list[_Term]) -> list[_Term]:
        return _limited([_product(*pair) for pair in itertools.product(left, right)])


def _is_unknown(node: Node) -> bool:
    return any(isinstance(item, Apply) for item in walk(node))


def _product(left: _Term, right: _Term) -> _Term:
    powers: dict[Node, Fraction] = {}
    coefficient = left.coefficient * right.coefficient
    for base, exponent in (*left.powers, *right.powers):
        powers[base] = powers.get(base, Fraction(0)) + exponent
    imaginary = powers.get(Constant("i"), Fraction(0))
    if imaginary.denominator == 1 and abs(imaginary) > 1:
        coefficient = -coefficient if imaginary % 4 in (2, 3) else coefficient
        powers[Constant("i")] = imaginary % 2
    kept = tuple((base, exponent) for base, exponent in powers.items() if exponent)
    return _Term(coefficient, left.rounded or right.rounded, kept)


def _limited(terms: list[_Term]) -> list[_Term]:
    if len(terms) > MAX_TERMS:
        raise _NoTermsError
    return terms
