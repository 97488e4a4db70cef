"""Comparing two answers that were read: each kind of structure by its own rule, down to scalars."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence as Many

from guerdon_plugins.verifiers.math import units
from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.canonical import key
from guerdon_plugins.verifiers.math.equations import same_equation
from guerdon_plugins.verifiers.math.exact import rational
from guerdon_plugins.verifiers.math.forms import (
    all_distinct,
    are_numbered,
    as_matrix,
    has_conditions,
    is_bare_logarithm,
    is_collection,
    kind_of,
    members,
    ratio_parts,
    simplify,
    split_labels,
    with_decimal_logarithms,
    without_declarations,
    without_factor,
)
from guerdon_plugins.verifiers.math.nodes import (
    MINUS_ONE,
    SCALARS,
    BaseNumeral,
    Clock,
    Conditional,
    Congruence,
    Constant,
    Dots,
    Listing,
    Matrix,
    Node,
    Number,
    Product,
    Quantity,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetOf,
    Standing,
    Sum,
    Symbol,
    Text,
    Unit,
    integer,
)
from guerdon_plugins.verifiers.math.numeric import Evaluator
from guerdon_plugins.verifiers.math.policy import Policy
from guerdon_plugins.verifiers.math.regions import NotRegionError, is_definite_region, same_region
from guerdon_plugins.verifiers.math.relations import label_and_body, same_label, settle_chain
from guerdon_plugins.verifiers.math.scalars import POINT_PRECISION, Finding, same_value
from guerdon_plugins.verifiers.math.standing import carry_out, is_calculation
from guerdon_plugins.verifiers.math.trees import (
    contains,
    letters,
    walk,
)

_DEGREE = Constant("degree")
_PERCENT = Constant("percent")
_RADIAN = Unit((("radian", 1),))
_TEMPERATURES = (Unit((("celsius", 1),)), Unit((("fahrenheit", 1),)))
"""Their ``\\circ`` may stand without its letter."""
_NOT_LETTERS = re.compile(r"[\W_]+")


class Comparer:
    """Compares one answer with one reference under a policy and within a budget."""

    def __init__(self, policy: Policy, budget: Budget) -> None:
        self._policy = policy
        self._budget = budget

    def same(self, reference: Node, answer: Node) -> Finding:
        """Whether the answer says what the reference says.

        Raises:
            TooLargeError: The budget is spent.
        """
        self._budget.spend(4)
        if reference == answer and not isinstance(answer, Relation):
            return Finding(True, "structure")
        reference, answer = without_declarations(reference, answer)
        reference, answer = (simplify(node) for node in (reference, answer))
        if isinstance(reference, Relation) and isinstance(answer, Relation):
            return self._relations(reference, answer)
        reference_label, reference = label_and_body(reference)
        answer_label, answer = label_and_body(answer)
        if reference_label and answer_label and not same_label(reference_label, answer_label):
            return Finding(False, "label", "it is the value of something else")
        reference, broken = settle_chain(reference, self._budget)
        if broken is None:
            answer, broken = settle_chain(answer, self._budget)
        if broken is not None:
            return broken
        if is_collection(reference) or is_collection(answer):
            return self._collections(reference, answer)
        return self._single(reference, answer)

    def _single(self, reference: Node, answer: Node) -> Finding:
        if isinstance(reference, Text) or isinstance(answer, Text):
            return _texts(reference, answer)
        if is_definite_region(reference) or is_definite_region(answer):
            return self._regions(reference, answer)
        match reference, answer:
            case (Clock(), _) | (_, Clock()):
                return self._clocks(reference, answer)
            case (Quantity(), _) | (_, Quantity()):
                return self._quantities(reference, answer)
            case Sequence(), Sequence():
                return self._sequences(reference, answer)
            case (Matrix(), Matrix()):
                return self._matrices(reference, answer)
            case (Matrix() as matrix, Sequence() as vector) | (Sequence() as vector, Matrix() as matrix):
                return self._matrices(matrix, as_matrix(vector))
            case Congruence(), Congruence():
                return self._congruences(reference, answer)
            case (Ratio(), _) | (_, Ratio()):
                return self._ratios(reference, answer)
            case Conditional(), Conditional():
                return self._conditionals(reference, answer)
        if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
            return self._scalars(reference, answer)
        if key(reference) == key(answer):
            return Finding(True, "structure")
        if isinstance(reference, BaseNumeral) or isinstance(answer, BaseNumeral):
            return Finding(False, "base", "the numerals or their bases differ")
        return Finding(False, "kind", f"{kind_of(answer)} is not {kind_of(reference)}")

    # Relations and regions

    def _relations(self, reference: Relation, answer: Relation) -> Finding:
        if key(reference) == key(answer) and set(reference.operators) != {"="}:
            return Finding(True, "structure")
        if is_definite_region(reference) or is_definite_region(answer):
            finding = self._regions(reference, answer)
            if finding:
                return finding
        if same_equation(reference, answer, self._budget):
            return Finding(True, "equation")
        reference_label, reference_body = label_and_body(reference)
        answer_label, answer_body = label_and_body(answer)
        if reference_label and answer_label and same_label(reference_label, answer_label):
            return self.same(reference_body, answer_body)
        if reference.operators == answer.operators and len(reference.operands) > 2:
            return self._in_order(reference.operands, answer.operands)
        if key(reference) == key(answer):
            return Finding(True, "structure")
        if (
            bool(reference_label) != bool(answer_label)
            and "=" in answer.operators
            and len(answer.operands) > 2
        ):
            return self.same(reference_body, answer_body)
        return Finding(False, "equation", "the relations say different things")

    def _regions(self, reference: Node, answer: Node) -> Finding:
        try:
            equal = same_region(reference, answer, self._budget)
        except NotRegionError:
            equal = key(reference) == key(answer)
            if not equal and isinstance(reference, Relation) and isinstance(answer, Relation):
                equal = same_equation(reference, answer, self._budget)
            if not equal and type(reference) is type(answer):
                return self._structures(reference, answer)
        return _region_finding(equal)

    def _structures(self, reference: Node, answer: Node) -> Finding:
        match reference, answer:
            case Relation(operands=left, operators=operators), Relation(operands=right, operators=others):
                flipped = tuple(
                    {"<": ">", "≤": "≥", ">": "<", "≥": "≤"}.get(sign, sign) for sign in reversed(others)
                )
                if operators == others:
                    return self._in_order(left, right)
                if operators == flipped:
                    return self._in_order(left, right[::-1])
            case Sequence(), Sequence():
                return self._sequences(reference, answer)
            case Listing(items=left), Listing(items=right):
                return self._unordered(left, right)
        return Finding(False, "region", "the sets of numbers differ")

    # Collections

    def _collections(self, reference: Node, answer: Node) -> Finding:
        if (is_definite_region(reference) or is_definite_region(answer)) and not has_conditions(
            reference, answer
        ):
            try:
                return _region_finding(same_region(reference, answer, self._budget))
            except NotRegionError:
                pass
            if not isinstance(reference, Listing) or not isinstance(answer, Listing):
                return _region_finding(key(reference) == key(answer))
            if {reference.joiner, answer.joiner} == {"and", "or"}:
                return _region_finding(False)
        left: Many[Node] = members(reference)
        right: Many[Node] = members(answer)
        if any(isinstance(item, Dots) for item in (*left, *right)):
            return self._in_order(left, right)
        left_labels, left = split_labels(left)
        right_labels, right = split_labels(right)
        if all_distinct(left_labels) and all_distinct(right_labels):
            return self._unordered(members(reference), members(answer))
        for labels, other in ((left_labels, answer), (right_labels, reference)):
            if all_distinct(labels):
                items = other.items if isinstance(other, Sequence) else members(other)
                ordered = (
                    self._in_order(left, items) if labels is left_labels else self._in_order(items, right)
                )
                if ordered or not are_numbered(labels):
                    return ordered
        if (isinstance(reference, Sequence) or isinstance(answer, Sequence)) and len(left) != len(right):
            return Finding(False, "kind", "an ordered list is not a set of answers")
        if isinstance(reference, SetOf) or isinstance(answer, SetOf):
            left, right = self._without_duplicates(left), self._without_duplicates(right)
        return self._unordered(left, right)

    def _without_duplicates(self, items: Many[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self.same(other, item) for other in kept):
                kept.append(item)
        return kept

    def _unordered(self, reference: Many[Node], answer: Many[Node]) -> Finding:
        if len(reference) != len(answer):
            return Finding(False, "list", f"{len(answer)} answers where the reference has {len(reference)}")
        left = list(reference)
        for item in answer:
            for index, candidate in enumerate(left):
                if self.same(candidate, item):
                    del left[index]
                    break
            else:
                return Finding(False, "list", "one of the answers is not among the reference's")
        return Finding(True, "list")

    def _in_order(self, reference: Many[Node], answer: Many[Node]) -> Finding:
        if len(reference) != len(answer):
            return Finding(False, "list", f"{len(answer)} entries where the reference has {len(reference)}")
        for place, (left, right) in enumerate(zip(reference, answer, strict=True), 1):
            finding = self.same(left, right)
            if not finding:
                return Finding(
                    False, finding.tier, f"entry {place} differs: {finding.reason}", finding.witness
                )
        return Finding(True, "list")

    def _sequences(self, reference: Sequence, answer: Sequence) -> Finding:
        brackets = [
            (node.left.replace("langle", "("), node.right.replace("rangle", ")"))
            for node in (reference, answer)
        ]
        if brackets[0] != brackets[1] and len(reference.items) == 2:
            return Finding(False, "brackets", "the brackets differ, so the endpoints do")
        return self._in_order(reference.items, answer.items)

    def _matrices(self, reference: Matrix, answer: Matrix) -> Finding:
        shapes = [(len(node.rows), len(node.rows[0])) for node in (reference, answer)]
        if shapes[0] != shapes[1]:
            return Finding(False, "matrix", "the matrices have different shapes")
        return self._in_order(
            *([entry for row in node.rows for entry in row] for node in (reference, answer))
        )

    # Things with one value

    def _clocks(self, reference: Node, answer: Node) -> Finding:
        if isinstance(reference, Clock) and isinstance(answer, Clock):
            halves = {reference.half, answer.half} - {""}
            equal = (reference.hour, reference.minute) == (answer.hour, answer.minute) and len(halves) < 2
            return Finding(equal, "clock", "" if equal else "the times differ")
        left, right = (
            Ratio((integer(node.hour), integer(node.minute))) if isinstance(node, Clock) else node
            for node in (reference, answer)
        )
        return self._ratios(left, right)

    def _quantities(self, reference: Node, answer: Node) -> Finding:
        if self._policy.units != "ignore":
            reference, answer = (
                _with_degrees(node, beside) for node, beside in ((reference, answer), (answer, reference))
            )
        left, right = (node.value if isinstance(node, Quantity) else node for node in (reference, answer))
        if not isinstance(reference, Quantity) or not isinstance(answer, Quantity):
            return self.same(left, right)
        if self._policy.units != "ignore" and reference.unit != answer.unit:
            bases = [units.to_base(node.unit) for node in (reference, answer)]
            if self._policy.units == "compare" or bases[0][0] != bases[1][0]:
                return Finding(False, "units", f"the unit is {answer.unit}, not {reference.unit}")
            left, right = Product((Number(bases[0][1]), left)), Product((Number(bases[1][1]), right))
        return self.same(left, right)

    def _congruences(self, reference: Congruence, answer: Congruence) -> Finding:
        finding = self.same(reference.modulus, answer.modulus)
        if not finding:
            return finding
        if Text("") not in (reference.left, answer.left) and key(reference.left) != key(answer.left):
            return Finding(False, "congruence", "it is about something else")
        difference = Quotient(Sum((reference.right, Product((MINUS_ONE, answer.right)))), answer.modulus)
        if isinstance(reference.right, Number) and isinstance(answer.right, Number):
            try:
                whole = rational(difference, self._budget).denominator == 1
            except ArithmeticError:
                whole = False
            return Finding(whole, "congruence", "" if whole else "the residues differ")
        return self.same(reference.right, answer.right)

    def _ratios(self, reference: Node, answer: Node) -> Finding:
        left, right = (ratio_parts(node) for node in (reference, answer))
        if left is None or right is None or len(left) != len(right):
            return Finding(False, "ratio", "the ratios differ")
        zero = integer(0)
        for (a, c), (b, d) in zip(itertools.pairwise(left), itertools.pairwise(right), strict=True):
            if zero in (a, b, c, d) or not self._scalars(Product((a, d)), Product((b, c))):
                return Finding(False, "ratio", "the ratios differ")
        return Finding(True, "ratio")

    def _conditionals(self, reference: Conditional, answer: Conditional) -> Finding:
        finding = self.same(reference.value, answer.value)
        if not finding or reference.condition is None or answer.condition is None:
            return (
                finding
                if reference.condition == answer.condition
                else Finding(False, "condition", "the conditions differ")
            )
        return self.same(reference.condition, answer.condition)

    def _scalars(self, reference: Node, answer: Node) -> Finding:
        standing = contains(answer, Standing), contains(reference, Standing)
        if standing == (True, False) and not self._policy.unevaluated:
            return Finding(
                False, "unevaluated", "an operation is left standing that the reference has carried out"
            )
        if not self._policy.calculations and isinstance(reference, Number) and is_calculation(answer):
            return Finding(
                False, "calculation", "a calculation is left to do where the reference is a number"
            )
        finding = same_value(reference, answer, self._budget)
        if not finding and any(standing):
            reference, answer = (carry_out(node, self._budget) for node in (reference, answer))
            finding = same_value(reference, answer, self._budget)
        if finding:
            return finding
        for left, right in self._alternatives(reference, answer):
            other = same_value(left, right, self._budget)
            if other:
                return other
        if self._policy.decimal_tolerance and self._is_close(reference, answer):
            return Finding(True, "tolerance")
        return finding

    def _alternatives(self, reference: Node, answer: Node) -> list[tuple[Node, Node]]:
        """What else the pair may be read as: degrees without their sign, percents, a constant of integration."""
        pairs: list[tuple[Node, Node]] = []
        bare_reference, bare_answer = without_factor(reference, _DEGREE), without_factor(answer, _DEGREE)
        if (bare_reference is None) != (bare_answer is None):
            pairs.append((bare_reference or reference, bare_answer or answer))
        if self._policy.percent == "optional":
            bare_reference, bare_answer = (
                without_factor(reference, _PERCENT),
                without_factor(answer, _PERCENT),
            )
            if (bare_reference is None) != (bare_answer is None):
                pairs.append((bare_reference or reference, bare_answer or answer))
        if any(is_bare_logarithm(item) for node in (reference, answer) for item in walk(node)):
            pairs.append((with_decimal_logarithms(reference), with_decimal_logarithms(answer)))
        if self._policy.plus_c and isinstance(reference, Sum) and Symbol("C") in reference.terms:
            pairs.append((Sum(tuple(term for term in reference.terms if term != Symbol("C"))), answer))
        return pairs

    def _is_close(self, reference: Node, answer: Node) -> bool:
        if not any(isinstance(node, Number) and node.decimal for node in (reference, answer)):
            return False
        try:
            left, right = (
                Evaluator(POINT_PRECISION, {}, self._budget).value(node) for node in (reference, answer)
            )
        except (ArithmeticError, KeyError):
            return False
        return bool(abs(left - right) <= self._policy.decimal_tolerance * abs(left))


def _with_degrees(node: Node, beside: Node) -> Node:
    """An angle in degrees with its unit, beside a quantity: of radians a degree is pi/180, of others none."""
    degrees = without_factor(node, _DEGREE)
    if degrees is None or not isinstance(beside, Quantity) or beside.unit in _TEMPERATURES:
        return node
    if beside.unit == _RADIAN:
        return Quantity(Product((degrees, Quotient(Constant("pi"), integer(180)))), _RADIAN)
    return Quantity(degrees, Unit((("degree", 1),)))


def _region_finding(equal: bool) -> Finding:
    return Finding(equal, "region", "" if equal else "the sets of numbers differ")


def _texts(reference: Node, answer: Node) -> Finding:
    left, right = (node.words if isinstance(node, Text) else letters(node) for node in (reference, answer))
    if left is None or right is None:
        return Finding(False, "text", "words are not a number")
    left, right = _NOT_LETTERS.sub(" ", left).strip(), _NOT_LETTERS.sub(" ", right).strip()
    if len(left) > 1:
        left, right = left.casefold(), right.casefold()
    return Finding(True, "text") if left == right and left else Finding(False, "text", "the words differ")
