"""Comparing two answers that were read: each kind of structure by its own rule, down to scalars."""

from __future__ import annotations

from functools import cached_property

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.curves import as_one_equation, same_family_of_curves, same_line
from guerdon_plugins.verifiers.math.comparing.declarations import (
    Declared,
    disagreement,
    in_one_letter,
    is_scalar_family,
    shared_domains,
    split_declarations,
    with_shifted_index,
)
from guerdon_plugins.verifiers.math.comparing.domains import INTEGERS, Domains, declaration, named_domain
from guerdon_plugins.verifiers.math.comparing.equations import as_difference, same_equation
from guerdon_plugins.verifiers.math.comparing.families import NotFamilyError, same_families
from guerdon_plugins.verifiers.math.comparing.forms import (
    as_inequality,
    as_matrix,
    has_conditions,
    is_collection,
    kind_of,
    members,
    one_says_and_the_other_or,
    simplify,
)
from guerdon_plugins.verifiers.math.comparing.geometry import corresponding_points
from guerdon_plugins.verifiers.math.comparing.groups import same_group
from guerdon_plugins.verifiers.math.comparing.labels import same_titles, split_titles
from guerdon_plugins.verifiers.math.comparing.listings import ListComparer
from guerdon_plugins.verifiers.math.comparing.measures import MeasureComparer
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.piecewise import NotPiecewiseError, is_piecewise, same_function
from guerdon_plugins.verifiers.math.comparing.readings import ScalarComparer
from guerdon_plugins.verifiers.math.comparing.regions import NotRegionError, is_definite_region, same_region
from guerdon_plugins.verifiers.math.comparing.relations import label_and_body, same_label, settle_chain
from guerdon_plugins.verifiers.math.comparing.residues import as_congruence
from guerdon_plugins.verifiers.math.comparing.rows import same_matrices, same_sequences
from guerdon_plugins.verifiers.math.comparing.scalars import EVERYWHERE, Finding
from guerdon_plugins.verifiers.math.comparing.texts import same_words
from guerdon_plugins.verifiers.math.comparing.tolerance import Closeness
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    BaseNumeral,
    Clock,
    Conditional,
    Congruence,
    Dimensions,
    Listing,
    Matrix,
    NamedSet,
    Node,
    Number,
    Quantity,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetBuilder,
    Span,
    Symbol,
    Text,
    fields,
)
from guerdon_plugins.verifiers.math.policy import Policy

_SYMMETRIC = frozenset("∥⊥≅∼")
_FLIPPED = {"<": ">", "≤": "≥", ">": "<", "≥": "≤"}


def is_plain(node: Node) -> bool:
    """Whether a node is a numeral or a fraction of two numerals."""
    return isinstance(node, Number) or (
        isinstance(node, Quotient)
        and isinstance(node.numerator, Number)
        and isinstance(node.denominator, Number)
    )


class Comparer:
    """Compares one answer with one reference under a policy, within a budget, over domains of letters."""

    def __init__(self, policy: Policy, budget: Budget, domains: Domains = EVERYWHERE) -> None:
        self._policy = policy
        self._budget = budget
        self._domains = domains

    # Most verdicts need one of these at most.

    @cached_property
    def _closeness(self) -> Closeness:
        return Closeness(self._policy.decimal_tolerance, self._budget)

    @cached_property
    def _scalars(self) -> ScalarComparer:
        return ScalarComparer(self._policy, self._budget, self._domains)

    @cached_property
    def _measures(self) -> MeasureComparer:
        return MeasureComparer(self._policy, self._budget, self.same)

    @cached_property
    def _lists(self) -> ListComparer:
        return ListComparer(self.same, self._budget)

    def same(self, reference: Node, answer: Node) -> Finding:
        """Return whether the answer says what the reference says.

        Raises:
            TooLargeError: The budget is spent.
        """
        self._budget.spend(4)
        if reference == answer and not isinstance(answer, Relation):
            return Finding(True, "structure")
        if is_plain(reference) and is_plain(answer):
            return self._scalars.same(reference, answer)
        if isinstance(reference, Congruence) or isinstance(answer, Congruence):
            reference, answer = (as_congruence(node, self._budget) for node in (reference, answer))
        left, right = (split_declarations(node, self._budget) for node in (reference, answer))
        if left.domains or right.domains:
            return self._declared(left, right)
        reference, answer = (simplify(declared.body) for declared in (left, right))
        reference, answer = as_inequality(reference, answer), as_inequality(answer, reference)
        titles, (reference, answer) = split_titles(reference, answer)
        if not same_titles(*titles):
            return Finding(False, "label", "it is the value of something else")
        curves = as_one_equation(reference, answer), as_one_equation(answer, reference)
        if curves != (reference, answer) and (finding := self.same(*curves)):
            return finding
        if isinstance(reference, Relation) and isinstance(answer, Relation):
            return self._relations(reference, answer)
        reference_label, reference = label_and_body(reference)
        answer_label, answer = label_and_body(answer)
        reference, answer = self._last_side(reference, answer), self._last_side(answer, reference)
        if reference_label and answer_label and not same_label(reference_label, answer_label):
            return Finding(False, "label", "it is the value of something else")
        reference, broken = settle_chain(simplify(reference), self._budget)
        if broken is None:
            answer, broken = settle_chain(simplify(answer), self._budget)
        if broken is not None:
            return broken
        if is_collection(reference) or is_collection(answer):
            return self._collections(reference, answer)
        return self._single(reference, answer)

    def _last_side(self, node: Node, other: Node) -> Node:
        """Return what an identity ``x^2 - 4x + 4 = (x-2)^2`` arrives at, against an expression."""
        match node:
            case Relation(operands=(left, right), operators=("=",)) if isinstance(other, SCALARS):
                sides = isinstance(left, SCALARS) and isinstance(right, SCALARS)
                if sides and key(left) != key(right) and self._scalars.same(left, right):
                    return right
            case Relation(operands=(_, right), operators=("∼",)) if isinstance(other, SCALARS):
                return right  # n! \\sim \\sqrt{2\\pi n}(n/e)^n
        return node

    def _single(self, reference: Node, answer: Node) -> Finding:
        if same_group(reference, answer):
            return Finding(True, "groups")
        if isinstance(reference, Text) or isinstance(answer, Text):
            return same_words(reference, answer)
        if is_definite_region(reference) or is_definite_region(answer):
            return self._regions(reference, answer)
        match reference, answer:
            case (Clock(), _) | (_, Clock()):
                return self._measures.clocks(reference, answer)
            case (Quantity(), _) | (_, Quantity()):
                return self._measures.quantities(reference, answer)
            case Sequence(), Sequence():
                return same_sequences(reference, answer, self._lists)
            case Span(parts=left), Span(parts=right):
                return self._lists.in_order(left, right)
            case Dimensions(parts=left), Dimensions(parts=right):
                lengths = all(isinstance(part, Quantity) for part in (*left, *right))
                return (self._lists.unordered if lengths else self._lists.in_order)(left, right)
            case (Matrix(), Matrix()):
                return same_matrices(reference, answer, self._lists)
            case (Matrix() as matrix, Sequence() as vector) | (Sequence() as vector, Matrix() as matrix):
                return same_matrices(matrix, as_matrix(vector), self._lists)
            case Congruence(), Congruence():
                return self._measures.congruences(reference, answer)
            case (Ratio(), _) | (_, Ratio()):
                return self._measures.ratios(reference, answer)
            case Conditional(), Conditional():
                return self._conditionals(reference, answer)
        if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
            return self._scalars.same(reference, answer)
        return self._same_form(reference, answer)

    def _same_form(self, reference: Node, answer: Node) -> Finding:
        """Compare nodes without a rule of their own: one kind, equal parts."""
        if key(reference) == key(answer):
            return Finding(True, "structure")
        if isinstance(reference, BaseNumeral) or isinstance(answer, BaseNumeral):
            return Finding(False, "base", "the numerals or their bases differ")
        if isinstance(reference, NamedSet) and isinstance(answer, NamedSet):
            domains = named_domain(reference.name), named_domain(answer.name)
            return Finding(None not in domains and domains[0] == domains[1], "sets", "the sets differ")
        if type(reference) is not type(answer) or not fields(reference):
            return Finding(False, "kind", f"{kind_of(answer)} is not {kind_of(reference)}")
        for left, right in zip(fields(reference), fields(answer), strict=True):
            match left, right:
                case Node(), Node():
                    finding = self.same(left, right)
                case (Node(), *_), (Node(), *_):
                    finding = self._lists.in_order(left, right)
                case _:
                    finding = Finding(left == right, "structure", "" if left == right else "the forms differ")
            if not finding:
                return finding
        return Finding(True, "structure")

    # Declarations

    def _declared(self, reference: Declared, answer: Declared) -> Finding:
        """Compare the bodies over their domains, and where the domains differ, the sets that they make."""
        if isinstance(reference.body, Congruence) != isinstance(answer.body, Congruence) and any(
            domain != INTEGERS for domain in (*reference.domains.values(), *answer.domains.values())
        ):
            return Finding(False, "domain", "the domain leaves out a part of the residue class")
        answer = in_one_letter(reference, answer)
        reference = in_one_letter(answer, reference)
        answer = with_shifted_index(reference, answer, self._budget)
        reason = disagreement(reference, answer, self._budget)
        domains = {**self._domains, **shared_domains(reference, answer)}
        finding = Comparer(self._policy, self._budget, domains).same(reference.body, answer.body)
        if finding and (not reason or self._used_domain(reference, answer)):
            return finding
        if finding or not self._same_families(reference, answer):
            return finding if not finding else Finding(False, "domain", reason)
        return Finding(True, "family")

    def _used_domain(self, reference: Declared, answer: Declared) -> bool:
        r"""Return whether an answer holds in the reference's domain only: ``1-x`` for ``\sqrt{(x-1)^2}, x<1``.

        Such a formula says the domain as well, unlike one that is equal everywhere.
        """
        bodies = reference.body, answer.body
        if answer.domains or not all(isinstance(body, SCALARS) for body in bodies):
            return False
        return not Comparer(self._policy, self._budget, self._domains).same(*bodies)

    def _same_families(self, reference: Declared, answer: Declared) -> bool:
        letters = {*reference.domains, *answer.domains}
        if len(letters) != 1 or not all(is_scalar_family(side.body) for side in (reference, answer)):
            return False
        (letter,) = letters
        left, right = (
            [label_and_body(item) for item in members(simplify(side.body))] for side in (reference, answer)
        )
        labels = {key(label) for label, _ in (*left, *right) if label is not None}
        if len(labels) > 1:
            return False
        domains = (
            reference.domains.get(letter) or answer.domains.get(letter, INTEGERS),
            answer.domains.get(letter) or reference.domains.get(letter, INTEGERS),
        )
        try:
            return same_families(
                [body for _, body in left], [body for _, body in right], letter, domains, self._budget
            )
        except NotFamilyError:
            return False

    def _conditionals(self, reference: Conditional, answer: Conditional) -> Finding:
        if reference.condition is None or answer.condition is None:
            if reference.condition == answer.condition:
                return self.same(reference.value, answer.value)
            return Finding(False, "condition", "the conditions differ")
        conditions = self.same(reference.condition, answer.condition)
        if not conditions:
            return conditions
        found = declaration(reference.condition, self._budget)
        domains = {**self._domains, **dict((found,))} if found else self._domains
        return Comparer(self._policy, self._budget, domains).same(reference.value, answer.value)

    # Relations and regions

    def _relations(self, reference: Relation, answer: Relation) -> Finding:
        if key(reference) == key(answer) and set(reference.operators) != {"="}:
            return Finding(True, "structure")
        if is_definite_region(reference) or is_definite_region(answer):
            finding = self._regions(reference, answer)
            if finding:
                return finding
        if self._same_equation(reference, answer):
            return Finding(True, "equation")
        if same_line(reference, answer, self._budget):
            return Finding(True, "line")
        triangles = corresponding_points(reference), corresponding_points(answer)
        if None not in triangles and reference.operators == answer.operators:
            equal = triangles[0] == triangles[1]
            return Finding(equal, "triangles", "" if equal else "other points correspond")
        reference_label, reference_body = label_and_body(reference)
        answer_label, answer_body = label_and_body(answer)
        if reference_label and answer_label and same_label(reference_label, answer_label):
            finding = self.same(reference_body, answer_body)
            if not finding and same_family_of_curves(reference, answer):
                return Finding(True, "family")
            return finding
        if reference.operators == answer.operators and len(reference.operands) > 2:
            names = all(isinstance(item, Symbol) for item in (*reference.operands, *answer.operands))
            if names and set(reference.operators) == {"="}:
                return self._lists.unordered(reference.operands, answer.operands)
            return self._lists.in_order(reference.operands, answer.operands)
        if key(reference) == key(answer) or self._same_sides(reference, answer):
            return Finding(True, "structure")
        if reference.operators == answer.operators and set(answer.operators) <= _SYMMETRIC:
            return self._lists.in_order(reference.operands, answer.operands[::-1])
        if (
            bool(reference_label) != bool(answer_label)
            and "=" in answer.operators
            and len(answer.operands) > 2
        ):
            return self.same(reference_body, answer_body)
        if same_family_of_curves(reference, answer):
            return Finding(True, "family")
        return Finding(False, "equation", "the relations say different things")

    def _same_sides(self, reference: Relation, answer: Relation) -> bool:
        """Whether two identities have equal sides, in either order: their differences are zero, so no factor tells."""
        if not reference.operators == answer.operators == ("=",) or names_in(reference) != names_in(answer):
            return False
        if not all(isinstance(side, SCALARS) for side in (*reference.operands, *answer.operands)):
            return False
        return any(
            self._lists.in_order(reference.operands, sides)
            for sides in (answer.operands, answer.operands[::-1])
        )

    def _same_equation(self, reference: Relation, answer: Relation) -> bool:
        if same_equation(reference, answer, self._budget, self._domains):
            return True
        left, right = as_difference(reference), as_difference(answer)
        if left is None or right is None or left[1] != right[1]:
            return False
        directed = left[1] in ("<", "≤")
        return self._closeness.proportional(left[0], right[0], directed=directed)

    def _regions(self, reference: Node, answer: Node) -> Finding:
        try:
            equal = same_region(reference, answer, self._budget, self._closeness.close)
        except NotRegionError:
            equal = key(reference) == key(answer)
            if not equal and isinstance(reference, Relation) and isinstance(answer, Relation):
                equal = self._same_equation(reference, answer)
            if not equal and type(reference) is type(answer):
                return self._structures(reference, answer)
        return _region_finding(equal)

    def _structures(self, reference: Node, answer: Node) -> Finding:
        match reference, answer:
            case Relation(operands=left, operators=operators), Relation(operands=right, operators=others):
                flipped = tuple(_FLIPPED.get(sign, sign) for sign in reversed(others))
                if operators == others:
                    return self._lists.in_order(left, right)
                if operators == flipped:
                    return self._lists.in_order(left, right[::-1])
            case SetBuilder(element=left), SetBuilder(element=right) if key(left) == key(right):
                return self.same(reference.condition, answer.condition)
            case Sequence(), Sequence():
                return same_sequences(reference, answer, self._lists)
            case Listing(items=left), Listing(items=right):
                return self._lists.unordered(left, right)
        return _region_finding(False)

    def _collections(self, reference: Node, answer: Node) -> Finding:
        """Return sets of numbers by what belongs to them, all other collections item by item."""
        if is_piecewise(reference) or is_piecewise(answer):
            try:
                return same_function(reference, answer, self._budget, self._domains)
            except NotPiecewiseError:
                return self._joined(reference, answer)
        region = is_definite_region(reference) or is_definite_region(answer)
        if not region or has_conditions(reference, answer):
            return self._joined(reference, answer)
        try:
            return _region_finding(same_region(reference, answer, self._budget, self._closeness.close))
        except NotRegionError:
            pass
        if not isinstance(reference, Listing) or not isinstance(answer, Listing):
            return _region_finding(key(reference) == key(answer))
        if {reference.joiner, answer.joiner} == {"and", "or"}:
            return _region_finding(False)
        return self._joined(reference, answer)

    def _joined(self, reference: Node, answer: Node) -> Finding:
        if one_says_and_the_other_or(reference, answer):
            return Finding(False, "list", "one says and where the other says or")
        return self._lists.collections(reference, answer)


def _region_finding(equal: bool) -> Finding:
    return Finding(equal, "region", "" if equal else "the sets of numbers differ")
