r"""Vectors between named points, and triangles that are similar or congruent, by their points."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import SCALARS, Node, Relation, Sum, Symbol, negate

__all__ = ["corresponding_points", "with_vectors_of_points"]

_POINT = r"([A-Z]'?)"
_VECTOR = re.compile(rf"vec {_POINT}{_POINT}")
_TRIANGLE = re.compile(rf"triangle {_POINT}{_POINT}{_POINT}")


def with_vectors_of_points(
    reference: Node, answer: Node, left: set[str], right: set[str]
) -> tuple[Node, Node]:
    r"""Return both with ``\overrightarrow{AB}`` as a difference of points, so that ``-\overrightarrow{BA}`` is equal.

    An answer with more vectors than the reference leaves something to add up, so that it stays as it is.

    Args:
        reference: The reference.
        answer: The answer.
        left: The reference's names.
        right: The answer's names.
    """
    vectors = [{name for name in names if _VECTOR.fullmatch(name)} for names in (left, right)]
    if not vectors[1] or len(vectors[1]) > len(vectors[0]):
        return reference, answer
    if not isinstance(reference, SCALARS) or not isinstance(answer, SCALARS):
        return reference, answer
    return _of_points(reference, vectors[0]), _of_points(answer, vectors[1])


def _of_points(node: Node, vectors: set[str]) -> Node:
    for name in vectors:
        if match := _VECTOR.fullmatch(name):
            start, end = (Symbol(f"point {point}") for point in match.groups())
            node = substitute(node, name, Sum((end, negate(start))))
    return node


def corresponding_points(relation: Relation) -> frozenset[tuple[str, ...]] | None:
    r"""Return which points of two triangles correspond in ``\triangle ABC \sim \triangle DEF``; ``None`` for others.

    Each pair starts with a point of the triangle whose points come first in the alphabet.
    """
    if len(relation.operators) != 1 or relation.operators[0] not in "∼≅":
        return None
    found = [
        _TRIANGLE.fullmatch(side.name) if isinstance(side, Symbol) else None for side in relation.operands
    ]
    if found[0] is None or found[1] is None:
        return None
    triangles = sorted((match.groups() for match in found if match), key=sorted)
    return frozenset(zip(*triangles, strict=True))
