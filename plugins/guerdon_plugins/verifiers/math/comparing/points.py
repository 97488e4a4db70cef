"""The points at which two functions are compared: near zero and far out, of both signs, around every border, integers.

Between two borders an expression is analytic, so a few unpredictable points decide it there. The remaining requirement
is a point in every piece, and on the borders themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.critical import Border, Point, borders, solutions
from guerdon_plugins.verifiers.math.comparing.domains import REALS, Domains
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import Call, Node, Number

NEAR = 7
_SCALES = (6, 6, 50, 50, 700, 700, 20_000, 20_000)
_SMALL = range(-8, 42)
"""Integers that are all tried for a single variable: longer than the period of most remainders."""
_FEW = range(-1, 6)
_LARGE = (53, 64, 97, 100, 101, 128, 360, 720, 1000, 1009)
MAX_AROUND = 160
"""Points around the borders, over all variables."""
_MAX_AROUND_POLES = 24
"""A meromorphic function has one formula on all sides of its poles, so any point decides it."""


def points(names: list[str], domains: Domains, nodes: tuple[Node, ...], budget: Budget) -> Iterator[Point]:
    """Yield the points for a pair of expressions, the cheapest and most telling first."""
    whole = [name for name in names if domains.get(name, REALS).whole]
    seen: set[tuple[Fraction, ...]] = set()
    found = borders(*nodes)
    kinks, poles = ([border for border in found if border.is_pole == pole] for pole in (False, True))
    candidates = itertools.chain(
        real_points(names),
        _integer_points(names, whole, nodes) if whole else (),
        _far_points(names),
        itertools.islice(_around(kinks, names, domains, budget), MAX_AROUND),
        itertools.islice(_around(poles, names, domains, budget), _MAX_AROUND_POLES),
    )
    for candidate in candidates:
        point = {name: domains.get(name, REALS).moved(candidate[name]) for name in names}
        values = tuple(point.values())
        if values in seen or any(point[name] not in domains.get(name, REALS) for name in names):
            continue
        seen.add(values)
        yield point


def real_points(names: list[str]) -> Iterator[Point]:
    """Yield two positive points and five of mixed signs."""
    for index in range(NEAR):
        point: Point = {}
        for name in names:
            drawn = _drawn(index, name)
            sign = -1 if index >= 2 and (index == 2 or drawn & 1) else 1
            point[name] = Fraction(sign * (20 + (drawn >> 1) % 250), 101)
        yield point


def _far_points(names: list[str]) -> Iterator[Point]:
    for index, scale in enumerate(_SCALES, NEAR):
        point: Point = {}
        for name in names:
            drawn = _drawn(index, name)
            sign = -1 if index % 2 == 0 else 1
            if len(names) > 1 and drawn & 1:
                sign = -sign
            point[name] = Fraction(sign * scale * (100 + (drawn >> 1) % 150), 101)
        yield point


def _drawn(index: int, name: str) -> int:
    return int.from_bytes(blake2b(f"{index} {name}".encode(), digest_size=4).digest(), "big")


def _integer_points(names: list[str], whole: list[str], nodes: tuple[Node, ...]) -> Iterator[Point]:
    """Yield runs of small integers, some large ones, and the numerals of the expressions with their neighbours."""
    others = dict(next(real_points(names)))
    values = [*_LARGE, *_numerals(nodes)]
    if len(whole) == 1:
        for value in (*_SMALL, *values):
            yield {**others, whole[0]: Fraction(value)}
        return
    for index in range(12):  # a binomial needs the larger one first
        ordered = whole if index % 2 else whole[::-1]
        yield {
            **others,
            **{name: Fraction(2 + index + (1 + index % 3) * place) for place, name in enumerate(ordered)},
        }
    if len(whole) == 2:
        for pair in itertools.product(_FEW, repeat=2):
            yield {**others, **dict(zip(whole, map(Fraction, pair), strict=True))}
    for index, value in enumerate(values):
        drawn = {name: Fraction(_drawn(index, name) % 24 - 4) for name in whole}
        yield {**others, **drawn}
        yield {**others, **drawn, whole[index % len(whole)]: Fraction(value)}


def _numerals(nodes: tuple[Node, ...]) -> list[int]:
    """Whole numbers in calls, their neighbours and small multiples: where a remainder or a divisor shows."""
    found: dict[int, None] = {}
    for node in nodes:
        for item in walk(node):
            if not isinstance(item, Call):
                continue
            for part in walk(item):
                if isinstance(part, Number) and part.value.denominator == 1 and 1 < part.value <= 10**6:
                    value = int(part.value)
                    found.update(dict.fromkeys((value, value - 1, value + 1, 2 * value, 3 * value, -value)))
    return list(found)[:48]


def _around(found: list[Border], names: list[str], domains: Domains, budget: Budget) -> Iterator[Point]:
    """On every border, on both sides of it, and between it and the next."""
    if not found:
        return
    near = list(real_points(names))
    far = list(_far_points(names))
    small = {name: value / 10 for name, value in near[0].items()}
    bases = [near[0], small, near[3], far[2], far[3]] if len(names) > 1 else near[:1]
    for place, base in enumerate(bases):
        # Where a border of one letter lies does not depend on the others; small values of these are mostly allowed.
        moving = [border for border in found if place < 2 or len(names_in(border.expression)) > 1]
        whole_base = {
            name: Fraction(round(value)) if domains.get(name, REALS).whole else value
            for name, value in base.items()
        }
        for name in names:
            values = {value for border in moving for value in solutions(border, name, whole_base, budget)}
            domain = domains.get(name, REALS)
            for value in _beside(sorted(values), domain.whole):
                yield {**whole_base, name: value}


def _beside(values: list[Fraction], whole: bool) -> Iterator[Fraction]:
    if not values:
        return
    if whole:
        for value in values:
            nearest = round(value)
            yield from (Fraction(nearest + step) for step in (0, -1, 1, -2, 2, 3, 7))
        return
    yield from (values[0] - Fraction(83, 97), values[-1] + Fraction(83, 97))
    yield from (values[0] - 19 * abs(values[0]) - 11, values[-1] + 19 * abs(values[-1]) + 11)
    for low, high in itertools.pairwise(values):
        yield low + (high - low) * Fraction(43, 97)
    for value in values:
        yield value
        yield value + Fraction(1, 997)
        yield value - Fraction(1, 997)
        yield value * Fraction(1, 2)
        yield value * 2
