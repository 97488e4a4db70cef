"""Sets of real numbers: intervals, unions, inequalities, all compared by membership around their endpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.domains import named_domain
from guerdon_plugins.verifiers.math.comparing.exact import UndefinedError
from guerdon_plugins.verifiers.math.comparing.numeric import Evaluator, UndecidedError, names_in
from guerdon_plugins.verifiers.math.comparing.scalars import PRECISION, same_value
from guerdon_plugins.verifiers.math.comparing.trees import substitute
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Call,
    Constant,
    Listing,
    NamedSet,
    Node,
    Number,
    Product,
    Quotient,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    SetOperation,
    Sum,
    Symbol,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.reading.vocabulary import ORDER

_INFINITY = Constant("infinity")
_MINUS_INFINITY = negate(_INFINITY)
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "≠": "≠"}


Close = Callable[[Node, Node], bool]


def exactly(left: Node, right: Node) -> bool:
    """Return the tolerance of an exact comparison: none."""
    return left == right


class NotRegionError(ValueError):
    """The answer is not a set of real numbers that this module supports."""


@dataclass(frozen=True, slots=True)
class _Interval:
    low: Node
    low_closed: bool
    high: Node
    high_closed: bool


@dataclass(frozen=True, slots=True)
class _Combination:
    operator: str
    parts: tuple[_Interval | _Combination | _Integers, ...]


@dataclass(frozen=True, slots=True)
class _Integers:
    """All integers."""


_REALS = _Interval(_MINUS_INFINITY, False, _INFINITY, False)
_Region = _Interval | _Combination | _Integers


def is_definite_region(node: Node) -> bool:
    """Return whether a node can be nothing but a set of numbers, unlike ``(0, 1)``, which may be a point."""
    match node:
        case Sequence(left=left, right=right):
            return (left, right) in (("(", "]"), ("[", ")"))
        case SetOperation() | SetBuilder():
            return True
        case NamedSet(name=name):
            domain = named_domain(name)
            return domain is not None and domain.name == "R"
        case Relation(operators=("∈",), operands=(_, SetOf())):
            return False
        case Relation(operators=operators):
            return bool(ORDER.intersection(operators)) or "∈" in operators
        case Listing(items=items):
            return any(is_definite_region(item) for item in items)
    return False


def same_region(reference: Node, answer: Node, budget: Budget, close: Close = exactly) -> bool:
    """Return whether two nodes describe the same set of real numbers.

    Args:
        reference: One set.
        answer: The other.
        budget: The budget of the comparison.
        close: Whether an endpoint of one side may pass for one of the other, for decimals that were rounded.

    Raises:
        NotRegionError: This module does not support one of them, or they are about different variables.
    """
    reader = _Reader(budget)
    regions = [reader.read(reference), reader.read(answer)]
    whole = [_has_integers(region) for region in regions]
    bare = answer if whole[0] else reference
    if (
        sum(whole) == 1 and reader.variable == "n" and isinstance(bare, Relation | Listing)
    ):  # other letters may be real
        regions = [_Combination("intersection", (region, _Integers())) for region in regions]
    line = _Line(regions, budget, close)
    if any(map(_has_integers, regions)):
        return line.integers(regions[0]) == line.integers(regions[1])
    return line.positions(regions[0]) == line.positions(regions[1])


class _Reader:
    """Reads both sides; a variable that one names must be the other's as well."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.variable: str | None = None

    def read(self, node: Node) -> _Region:
        match node:
            case Sequence(items=(low, high), left=left, right=right) if left in "([" and right in ")]":
                return _Interval(low, left == "[", high, right == "]")
            case SetOf(items=items):
                return _Combination("union", tuple(_Interval(item, True, item, True) for item in items))
            case NamedSet(name=name):
                return _read_named(name)
            case SetOperation(operator=operator, operands=operands):
                return _Combination(operator, tuple(self.read(operand) for operand in operands))
            case SetBuilder(element=element, condition=condition):
                return self._read_builder(element, condition)
            case Relation(operands=operands, operators=operators):
                return self._read_chain(operands, operators)
            case Listing(items=items, joiner=joiner):
                return self._read_listing(items, joiner)
        raise NotRegionError

    def _read_builder(self, element: Node, condition: Node) -> _Region:
        match element:
            case Relation(operands=(Symbol(name=name), where), operators=("∈",)):
                self._about(name)
                return _Combination("intersection", (self.read(where), self.read(condition)))
            case Symbol(name=name):
                self._about(name)
                return self.read(condition)
        raise NotRegionError

    def _read_listing(self, items: tuple[Node, ...], joiner: str) -> _Region:
        parts = tuple(self.read(item) for item in items)
        if joiner == "or" or all(isinstance(item, Sequence) for item in items):  # intervals side by side
            return _Combination("union", parts)
        both = _Combination("intersection", parts)
        narrowing = [isinstance(item, Relation) and item.operators[0] in ("≠", "∈") for item in items]
        if joiner == "and" or all(narrowing[1:]) or (narrowing[0] and any(map(_has_integers, parts))):
            return both
        line = _Line([both], self._budget)
        return both if line.positions(both) else _Combination("union", parts)

    def _about(self, name: str) -> None:
        if self.variable not in (None, name):
            raise NotRegionError
        self.variable = name

    def _read_chain(self, operands: tuple[Node, ...], operators: tuple[str, ...]) -> _Region:
        operands = tuple(Symbol(node.name) if isinstance(node, Apply) else node for node in operands)
        if operators == ("∈",) and isinstance(operands[0], Symbol):
            self._about(operands[0].name)
            return self.read(operands[1])
        links = [
            self._read_link(left, operator, right)
            for left, operator, right in zip(operands, operators, operands[1:], strict=False)
        ]
        return links[0] if len(links) == 1 else _Combination("intersection", tuple(links))

    def _read_link(self, left: Node, operator: str, right: Node) -> _Region:
        if operator not in _FLIPPED and operator != "=":
            raise NotRegionError
        if not isinstance(left, SCALARS) or not isinstance(right, SCALARS):
            raise NotRegionError
        names = names_in(left) | names_in(right)
        if len(names) != 1:
            raise NotRegionError
        name = names.pop()
        self._about(name)
        for inner, other, sign in ((left, right, operator), (right, left, _FLIPPED.get(operator, operator))):
            match inner:
                case Symbol():
                    if not names_in(other):
                        return _half_line(sign, other)
                case Call(function="abs", arguments=(argument,)) if not names_in(other):
                    return self._read_absolute(argument, sign, other, name)
        return self._read_linear(Sum((left, negate(right))), operator, name)

    def _read_linear(self, expression: Node, operator: str, name: str) -> _Region:
        """``expression operator 0``, where the expression is linear in the variable."""
        at_zero = substitute(expression, name, integer(0))
        slope = Sum((substitute(expression, name, integer(1)), negate(at_zero)))
        line = Sum((Product((slope, Symbol(name))), at_zero))
        value = _real(slope, self._budget)
        if not value or not same_value(expression, line, self._budget):
            raise NotRegionError
        return _half_line(
            operator if value > 0 else _FLIPPED.get(operator, operator), Quotient(negate(at_zero), slope)
        )

    def _read_absolute(self, argument: Node, operator: str, bound: Node, name: str) -> _Region:
        if _real(bound, self._budget) < 0:
            raise NotRegionError
        above = self._read_linear(Sum((argument, negate(bound))), operator, name)
        below = self._read_linear(Sum((argument, bound)), _FLIPPED.get(operator, operator), name)
        inside = operator in "<≤≠"
        return _Combination("intersection" if inside else "union", (above, below))


def _read_named(name: str) -> _Region:
    domain = named_domain(name)
    if domain is None or domain.name not in ("R", "Z"):
        raise NotRegionError
    parts: list[_Region] = [_Integers()] if domain.whole else []
    if domain.low is not None:
        parts.append(_half_line(">" if domain.low_open else "≥", Number(domain.low)))
    if domain.high is not None:
        parts.append(_half_line("<" if domain.high_open else "≤", Number(domain.high)))
    parts.extend(_half_line("≠", Number(value)) for value in domain.without)
    return _Combination("intersection", tuple(parts)) if parts else _REALS


def _half_line(operator: str, bound: Node) -> _Region:
    match operator:
        case "<" | "≤":
            return _Interval(_MINUS_INFINITY, False, bound, operator == "≤")
        case ">" | "≥":
            return _Interval(bound, operator == "≥", _INFINITY, False)
        case "=":
            return _Interval(bound, True, bound, True)
    return _Combination("difference", (_REALS, _Interval(bound, True, bound, True)))


def _real(node: Node, budget: Budget) -> Any:
    try:
        return Evaluator(PRECISION, {}, budget).value(node)
    except (UndefinedError, UndecidedError, KeyError, OverflowError) as error:
        raise NotRegionError from error


class _Line:
    """The real line cut at every endpoint: position 2k+1 is the k-th endpoint, even ones are the gaps."""

    def __init__(self, regions: list[_Region], budget: Budget, close: Close = exactly) -> None:
        self._budget = budget
        self._places: dict[int, int] = {}
        endpoints: list[tuple[Any, int, Node]] = []
        for side, region in enumerate(regions):
            for bound in _bounds(region):
                if bound not in (_INFINITY, _MINUS_INFINITY):
                    endpoints.append((_real(bound, budget), side, bound))
        endpoints.sort(key=lambda endpoint: endpoint[0])
        self._values: list[tuple[Any, Node]] = []
        for index, (value, side, bound) in enumerate(endpoints):
            _, other_side, before = endpoints[index - 1]
            merged = index > 0 and (
                bool(same_value(before, bound, budget))
                or (side != other_side and (close(before, bound) or close(bound, before)))
            )
            if not merged:
                self._values.append((value, bound))
            self._places[id(bound)] = 2 * len(self._values) - 1
        self._last = 2 * len(self._values)

    def _place(self, bound: Node) -> int:
        if bound == _MINUS_INFINITY:
            return -1
        return self._last + 1 if bound == _INFINITY else self._places[id(bound)]

    def positions(self, region: _Region) -> frozenset[int]:
        """Return the positions that belong to a region."""
        if isinstance(region, _Interval):
            low, high = self._place(region.low), self._place(region.high)
            if low > high:
                raise NotRegionError  # (2, 1) is a point
            inside = set(range(low + 1, high))
            if region.low_closed and low == high:
                inside.add(low)
            elif low < high:
                inside.update(
                    place
                    for place, closed in ((low, region.low_closed), (high, region.high_closed))
                    if closed
                )
            return frozenset(inside)
        if isinstance(region, _Integers):
            raise NotRegionError
        first, *others = (self.positions(part) for part in region.parts) if region.parts else (frozenset(),)
        match region.operator:
            case "union":
                return first.union(*others)
            case "intersection":
                return first.intersection(*others)
        return first.difference(*others)

    def integers(self, region: _Region) -> tuple[tuple[float, float], ...]:
        """Return the runs of neighbouring integers that belong to a region, which must hold nothing else.

        Raises:
            NotRegionError: It holds other numbers as well.
        """
        positions = self.positions(_without_integers(region))
        whole = _has_integers(region)
        runs: list[tuple[float, float]] = []
        for place in sorted(positions):
            run = self._run(place, whole=whole)
            if run[0] > run[1]:
                continue
            if runs and run[0] <= runs[-1][1] + 1:
                run = (runs.pop()[0], run[1])
            runs.append(run)
        return tuple(runs)

    def _run(self, place: int, *, whole: bool) -> tuple[float, float]:
        """Return the first and the last integer at an endpoint or in a gap."""
        if place % 2:
            return self._whole_part(place // 2, up=True, closed=True), self._whole_part(
                place // 2, up=False, closed=True
            )
        if not whole:
            raise NotRegionError
        low = self._whole_part(place // 2 - 1, up=True, closed=False) if place else -math.inf
        high = self._whole_part(place // 2, up=False, closed=False) if place < self._last else math.inf
        return low, high

    def _whole_part(self, index: int, *, up: bool, closed: bool) -> float:
        """Return the integer next to an endpoint, upwards or downwards, the endpoint itself included if closed."""
        value, bound = self._values[index]
        nearest = int(value.context.nint(value))
        if same_value(bound, integer(nearest), self._budget):
            return nearest if closed else nearest + (1 if up else -1)
        rounded = value.context.ceil(value) if up else value.context.floor(value)
        return int(rounded)


def _has_integers(region: _Region) -> bool:
    """Return whether every number of a region is whole because the region says so."""
    match region:
        case _Integers():
            return True
        case _Combination(operator="union", parts=parts):
            return all(map(_has_integers, parts)) and bool(parts)
        case _Combination(operator="intersection", parts=parts):
            return any(map(_has_integers, parts))
        case _Combination(operator="difference", parts=parts):
            return _has_integers(parts[0])
    return False


def _without_integers(region: _Region) -> _Region:
    """Return the region with all reals instead of the integers."""
    if isinstance(region, _Combination):
        if region.operator == "difference" and any(map(_has_integers, region.parts[1:])):
            raise NotRegionError
        return _Combination(region.operator, tuple(map(_without_integers, region.parts)))
    return _REALS if isinstance(region, _Integers) else region


def _bounds(region: _Region) -> list[Node]:
    if isinstance(region, _Interval):
        return [region.low, region.high]
    if isinstance(region, _Integers):
        return []
    return [bound for part in region.parts for bound in _bounds(part)]
