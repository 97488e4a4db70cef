"""Equal and nearly equal pairs of answers by grammar, with the truth of each, from a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pair_functions
import pair_structures

_NUMERAL = re.compile(r"\d+")


@dataclass(frozen=True)
class Pair:
    """A reference, an answer, and whether they are equal."""

    family: str
    reference: str
    answer: str
    equal: bool


def pairs(seed: int, count: int) -> Iterator[Pair]:
    """As many pairs as asked for; half of the families are functions, judged by mpmath."""
    source = random.Random(seed)
    made = 0
    while made < count:
        if source.random() < 0.5:
            maker = source.choice(pair_functions.FAMILIES)
            left, right = maker(source)
            numerals = {int(digits) for digits in _NUMERAL.findall(left.tex + right.tex)}
            truth = pair_functions.equal(left, right, numerals)
            if truth is None:
                continue
            yield Pair(maker.__name__, left.tex, right.tex, truth)
        else:
            structure = source.choice(pair_structures.FAMILIES)
            yield Pair(structure.__name__, *structure(source))
        made += 1
