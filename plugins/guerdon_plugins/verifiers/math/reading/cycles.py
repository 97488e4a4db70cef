r"""Permutations in cycles: ``(1\\ 2\\ 3)(4\\ 5)``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

from guerdon_plugins.verifiers.math.nodes import Text

__all__ = ["permutation", "read_cycles"]

_SPACE = r"(?:\s|~|\\[ ,;:]|\\q?quad(?![a-z]))+"
_CYCLES = re.compile(rf"(?:\(\s*\d{{1,2}}(?:{_SPACE}\d{{1,2}})+\s*\)(?:\s|\\circ|\\cdot|\\[ ,;:])*)+")
_CYCLE = re.compile(r"\(([^()]*)\)")
_NUMERAL = re.compile(r"\d+")


def read_cycles(text: str) -> Text | None:
    """Return the permutation that cycles of spaced numerals are; ``None`` for other texts."""
    if not _CYCLES.fullmatch(text):
        return None
    return permutation([[int(item) for item in _NUMERAL.findall(cycle)] for cycle in _CYCLE.findall(text)])


def permutation(cycles: Sequence[Sequence[int]]) -> Text | None:
    """Return the name of a permutation: each cycle from its smallest item, and disjoint cycles in order.

    Cycles that share items stay in their order, of which there are two conventions. ``None`` where an item is twice in
    one cycle.
    """
    if any(len(set(cycle)) < len(cycle) or len(cycle) < 2 for cycle in cycles):
        return None
    turned = []
    for cycle in cycles:
        first = list(cycle).index(min(cycle))
        turned.append([*cycle[first:], *cycle[:first]])
    items = list(chain.from_iterable(turned))
    if len(set(items)) == len(items):
        turned.sort()
    return Text("permutation " + "".join(f"({' '.join(map(str, cycle))})" for cycle in turned))
