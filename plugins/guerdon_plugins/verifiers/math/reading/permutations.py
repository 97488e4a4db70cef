"""Solutions up to order: ``(1, 0, 0)`` and its permutations as the list of all of them."""

from __future__ import annotations

import re
from itertools import permutations

from guerdon_plugins.verifiers.math.nodes import Listing, Node, Relation, Sequence

__all__ = ["permuted", "without_permutations"]

_SAID = re.compile(
    r"(?i)[\s,;]*\(?(?:\\text\s*\{)?(?:\b(?:and|or|with|along with|together with|up to|all|any|every|its|their|"
    r"the|other|of|these|possible|distinct)\b|[\s~,])*(\bcyclic\s+)?\bpermutations?\b(?:\s+(?:of|thereof|these|those|this|them|it|the|"
    r"triples?|tuples?|pairs?|solutions?))*[\s~]*\}?\)?[\s.:]*|[\s,;]*(?:及其|以及|及|的)?(?:所有)?(轮换|排列|全排列)"
)
_MAX_ITEMS = 5
_MAX_SOLUTIONS = 120


def without_permutations(text: str) -> tuple[str, bool] | None:
    """Return an answer without the words that add its permutations, and whether only cyclic ones; else ``None``."""
    match = _SAID.search(text)
    if match is None:
        return None
    cyclic = bool(match[1]) or match[2] == "轮换"
    rest = text[: match.start()] + text[match.end() :]
    return (rest, cyclic) if rest.strip() else None


def permuted(node: Node, cyclic: bool) -> Node | None:
    """Return a list of points with every permutation of each; ``None`` where there is something else."""
    items = node.items if isinstance(node, Listing) else (node,)
    found: dict[str, Node] = {}
    label = None
    for item in items:
        match item:
            case Relation(operands=(Sequence() as names, Sequence() as point), operators=("=",)):
                label = names
            case Sequence() as point:
                pass
            case _:
                return None
        if len(point.items) > _MAX_ITEMS:
            return None
        for order in _orders(point.items, cyclic):
            found.setdefault(repr(order), Sequence(order, point.left, point.right))
    if not 1 <= len(found) <= _MAX_SOLUTIONS:
        return None
    points = list(found.values())
    if label is not None:
        points[0] = Relation((label, points[0]), ("=",))
    return points[0] if len(points) == 1 else Listing(tuple(points), ",")


def _orders(items: tuple[Node, ...], cyclic: bool) -> list[tuple[Node, ...]]:
    if cyclic:
        return [items[start:] + items[:start] for start in range(len(items))]
    return list(permutations(items))
