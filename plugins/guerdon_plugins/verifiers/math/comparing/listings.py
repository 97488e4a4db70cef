"""Lists and sets of answers: which belongs to which, and when the order counts."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.canonical import key
from guerdon_plugins.verifiers.math.comparing.forms import (
    all_distinct,
    are_numbered,
    are_numbered_roots,
    members,
    split_labels,
)
from guerdon_plugins.verifiers.math.comparing.patterns import written_out
from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.nodes import Dots, Listing, Node, Sequence, SetOf

Same = Callable[[Node, Node], Finding]


class ListComparer:
    """Compares collections of answers, each answer by a given comparison."""

    def __init__(self, same: Same, budget: Budget) -> None:
        self._same = same
        self._budget = budget

    def collections(self, reference: Node, answer: Node) -> Finding:
        """Compare two answers of which one at least is a list or a set.

        The first rule that applies decides: what marks an order, or a place, is asked before what has none.

        1. Dots: a pattern, so the order of the items counts.
        2. Every item has a label of its own on both sides: the labelled items in any order.
           Where some share one, as in ``x = 1, x = 2, y = 3``, too.
        3. Every item has one on one side: its values in the order of the labels; in any order if the labels only
           number the answers.
        4. A point against a list of another length is something else.
        5. A set: repetitions count for nothing.
        6. Values that the reference separates by semicolons answer several questions: in their order, but a set in
           braces answers one.
        7. Items in any order.
        """
        left: Many[Node] = members(reference)
        right: Many[Node] = members(answer)
        if any(isinstance(item, Dots) for item in (*left, *right)):
            names, bodies = zip(*(split_labels(items) for items in (left, right)), strict=True)
            if any(all(name is None for name in labels[1:]) for labels in names):  # k = 0, 1, ..., n
                left, right = bodies
            left, right = (written_out(items, self._budget) for items in (left, right))
            return self.in_order(left, right)
        if len(left) == len(right) == 1 and type(reference) is type(answer) is Listing:
            return self._same(left[0], right[0])
        left_labels, left_bodies = split_labels(left)
        right_labels, right_bodies = split_labels(right)
        if all_distinct(left_labels) and all_distinct(right_labels):
            if are_numbered_roots(left_labels) and are_numbered_roots(right_labels):
                return self.unordered(left_bodies, right_bodies)
            return self.unordered(left, right)
        if None not in (*left_labels, *right_labels) and (_several(left_labels) or _several(right_labels)):
            return self.unordered(left, right)
        if all_distinct(left_labels):
            ordered = self.in_order(left_bodies, _items(answer))
            if ordered or not are_numbered(left_labels):
                return ordered
        if all_distinct(right_labels):
            ordered = self.in_order(_items(reference), right_bodies)
            if ordered or not are_numbered(right_labels):
                return ordered
        if (isinstance(reference, Sequence) or isinstance(answer, Sequence)) and len(left) != len(right):
            return Finding(False, "kind", "an ordered list is not a set of answers")
        if isinstance(reference, SetOf) and isinstance(answer, SetOf) and _sets(left) != _sets(right):
            return Finding(False, "list", "a set among the members is not its own members")
        if _ignores_repetitions(reference) or _ignores_repetitions(answer):
            left_bodies, right_bodies = map(self._without_repetitions, (left_bodies, right_bodies))
        several = isinstance(reference, Listing) and reference.joiner == ";" and not isinstance(answer, SetOf)
        if several and len(left) == len(right):
            return self.in_order(left_bodies, right_bodies)
        finding = self.unordered(left_bodies, right_bodies)
        if not finding and _named(left_labels) != _named(right_labels):  # y = x against x - y = 0
            return self.unordered(left, right)
        return finding

    def _without_repetitions(self, items: Many[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if not any(self._same(other, item) for other in kept):
                kept.append(item)
        return kept

    def unordered(self, reference: Many[Node], answer: Many[Node]) -> Finding:
        """Match every answer with a reference of its own."""
        if len(reference) != len(answer):
            return Finding(False, "list", f"{len(answer)} answers where the reference has {len(reference)}")
        left = list(reference)
        for item in answer:
            for index, candidate in enumerate(left):
                if self._same(candidate, item):
                    del left[index]
                    break
            else:
                return Finding(False, "list", "one of the answers is not among the reference's")
        return Finding(True, "list")

    def in_order(self, reference: Many[Node], answer: Many[Node]) -> Finding:
        """Compare item by item."""
        if len(reference) != len(answer):
            return Finding(False, "list", f"{len(answer)} entries where the reference has {len(reference)}")
        for place, (left, right) in enumerate(zip(reference, answer, strict=True), 1):
            finding = self._same(left, right)
            if not finding:
                return Finding(
                    False, finding.tier, f"entry {place} differs: {finding.reason}", finding.witness
                )
        return Finding(True, "list")


def _ignores_repetitions(node: Node) -> bool:
    """Return whether a value said twice is one: in a set, and in ``3/8 or 0.375``."""
    return isinstance(node, SetOf) or (isinstance(node, Listing) and node.joiner == "or")


def _several(labels: Many[Node | None]) -> bool:
    r"""Return whether every answer has a label, and not all the same: ``x = \pm 1, y = \pm 2``."""
    names = {key(label) for label in labels if label is not None}
    return None not in labels and len(names) > 1 and not are_numbered(labels)


def _named(labels: Many[Node | None]) -> bool:
    return any(label is not None for label in labels)


def _sets(items: Many[Node]) -> bool:
    return any(isinstance(item, SetOf) for item in items)


def _items(node: Node) -> Many[Node]:
    return node.items if isinstance(node, Sequence) else members(node)
