"""Two scalars under a policy: their value, then what else they may be read as, then how close they are."""

from __future__ import annotations

import itertools
import re

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import Domains
from guerdon_plugins.verifiers.math.comparing.forms import (
    is_bare_logarithm,
    with_decimal_logarithms,
    without_factor,
)
from guerdon_plugins.verifiers.math.comparing.infinite import same_limit
from guerdon_plugins.verifiers.math.comparing.measures import DEGREE
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.scalars import Finding, same_value
from guerdon_plugins.verifiers.math.comparing.series import same_series
from guerdon_plugins.verifiers.math.comparing.standing import carry_out, is_calculation, summed_to
from guerdon_plugins.verifiers.math.comparing.tolerance import Closeness
from guerdon_plugins.verifiers.math.comparing.trees import contains, substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    Constant,
    Dots,
    Node,
    Number,
    Standing,
    Sum,
    Symbol,
    integer,
)
from guerdon_plugins.verifiers.math.policy import Policy

_PERCENT = Constant("percent")
_CONSTANT = re.compile(r"[Cc]_\d")
MAX_CONSTANTS = 3
_UPPER_BOUNDS = (1, 2, 3, 4, 5, 6, 9, 14)


class ScalarComparer:
    """Compares scalar expressions under a policy, over the domains of their letters."""

    def __init__(self, policy: Policy, budget: Budget, domains: Domains) -> None:
        self._policy = policy
        self._budget = budget
        self._domains = domains

    def same(self, reference: Node, answer: Node) -> Finding:
        """Return whether the answer has the reference's value, in one of the readings that the policy allows."""
        standing = contains(answer, Standing), contains(reference, Standing)
        if contains(reference, Dots) and contains(answer, Dots):
            equal = self._same_series(reference, answer)
            return Finding(equal, "series", "" if equal else "the terms differ")
        if standing == (True, False) and not self._policy.unevaluated:
            return Finding(
                False, "unevaluated", "an operation is left standing that the reference has carried out"
            )
        if not self._policy.calculations and isinstance(reference, Number) and is_calculation(answer):
            return Finding(
                False, "calculation", "a calculation is left to do where the reference is a number"
            )
        finding = self._same_value(reference, answer)
        if not finding and any(standing):
            reference, answer = (carry_out(node, self._budget) for node in (reference, answer))
            finding = self._same_value(reference, answer)
            if not finding and (letter := summed_to(reference, answer)):
                finding = self._same_sums(reference, answer, letter)
            if not finding and all(standing) and self._same_series(reference, answer):
                finding = Finding(True, "series")
            if not finding and any(contains(node, Standing) for node in (reference, answer)):
                finding = _of_limits(reference, answer)
        if finding:
            return finding
        closeness = Closeness(self._policy.decimal_tolerance, self._budget)
        for left, right in self._other_readings(reference, answer):
            other = self._same_value(left, right)
            if other:
                return other
            if closeness.close(left, right):
                return Finding(True, "tolerance")
        if closeness.close(reference, answer):
            return Finding(True, "tolerance")
        return finding

    def _same_value(self, reference: Node, answer: Node) -> Finding:
        return same_value(reference, answer, self._budget, self._domains)

    def _same_series(self, reference: Node, answer: Node) -> bool:
        def same(left: Node, right: Node, domains: Domains) -> bool:
            return bool(same_value(left, right, self._budget, domains))

        return same_series(reference, answer, self._budget, self._domains, same)

    def _same_sums(self, reference: Node, answer: Node, letter: str) -> Finding:
        """Compare with sums and products up to a letter, carried out at small integers."""
        finding = Finding(False, "undecided", "the sums could not be carried out")
        for value in _UPPER_BOUNDS:
            left, right = (
                carry_out(substitute(node, letter, integer(value)), self._budget)
                for node in (reference, answer)
            )
            if contains(left, Standing) or contains(right, Standing):
                return Finding(False, "undecided", "the sums could not be carried out")
            finding = self._same_value(left, right)
            if not finding:
                return Finding(
                    False, "points", f"the expressions differ at {letter} = {value}", finding.reason
                )
        return Finding(True, "points") if finding else finding

    def _other_readings(self, reference: Node, answer: Node) -> list[tuple[Node, Node]]:
        """Degrees without their sign, percents, logarithms of base 10, no constant of integration."""
        pairs: list[tuple[Node, Node]] = []
        for constant, allowed in ((DEGREE, True), (_PERCENT, self._policy.percent == "optional")):
            left, right = without_factor(reference, constant), without_factor(answer, constant)
            if allowed and (left is None) != (right is None):
                pairs.append((left or reference, right or answer))
        if any(is_bare_logarithm(item) for node in (reference, answer) for item in walk(node)):
            pairs.append((with_decimal_logarithms(reference), with_decimal_logarithms(answer)))
        pairs.extend((reference, swapped) for swapped in _with_other_constants(reference, answer))
        if self._policy.plus_c and isinstance(reference, Sum) and Symbol("C") in reference.terms:
            pairs.append((Sum(tuple(term for term in reference.terms if term != Symbol("C"))), answer))
        return pairs


def _of_limits(reference: Node, answer: Node) -> Finding:
    """Return what the value of infinite sums and products says; points and digits do not know them."""
    same = same_limit(reference, answer)
    if same is None:
        return Finding(False, "undecided", "an operation is left standing whose value could not be found")
    return Finding(same, "limit", "" if same else "the values differ")


def _with_other_constants(reference: Node, answer: Node) -> list[Node]:
    """Return the answer with its constants of integration, ``C_1``, ``C_2``, in every other order.

    Their names have no meaning.
    """
    names = sorted(name for name in names_in(answer) if _CONSTANT.fullmatch(name))
    if not 2 <= len(names) <= MAX_CONSTANTS or not set(names) <= names_in(reference):
        return []
    others = []
    for order in itertools.islice(itertools.permutations(names), 1, None):
        changed = answer
        for name in names:
            changed = substitute(changed, name, Symbol(f"{name}'"))
        for name, other in zip(names, order, strict=True):
            changed = substitute(changed, f"{name}'", Symbol(other))
        others.append(changed)
    return others
