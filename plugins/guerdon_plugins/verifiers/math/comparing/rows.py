"""Rows of values, entry by entry: points, vectors, lists in brackets, matrices."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.comparing.listings import ListComparer
from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.nodes import Matrix, Number, Sequence

__all__ = ["same_matrices", "same_sequences"]


def same_sequences(reference: Sequence, answer: Sequence, lists: ListComparer) -> Finding:
    """Compare two sequences; the brackets around two items count, since these may be the ends of an interval."""
    brackets = [
        (node.left.replace("langle", "("), node.right.replace("rangle", ")")) for node in (reference, answer)
    ]
    is_list = _decreases(reference) and all(pair in (("(", ")"), ("[", "]")) for pair in brackets)
    if brackets[0] != brackets[1] and len(reference.items) == 2 and not is_list:
        return Finding(False, "brackets", "the brackets differ, so the endpoints do")
    return lists.in_order(reference.items, answer.items)


def same_matrices(reference: Matrix, answer: Matrix, lists: ListComparer) -> Finding:
    """Compare two matrices of one shape."""
    shapes = [(len(node.rows), len(node.rows[0])) for node in (reference, answer)]
    if shapes[0] != shapes[1]:
        return Finding(False, "matrix", "the matrices have different shapes")
    return lists.in_order(*([entry for row in node.rows for entry in row] for node in (reference, answer)))


def _decreases(node: Sequence) -> bool:
    """Return whether two items cannot be the ends of an interval, so that brackets say nothing of the ends."""
    match node.items:
        case (Number(value=first), Number(value=second)):
            return first >= second
    return False
