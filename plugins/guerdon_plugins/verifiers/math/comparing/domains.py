"""The domain of a letter: all reals, unless an answer or the convention for index letters restricts it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.exact import NotExactError, UndefinedError, rational
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import (
    Call,
    Constant,
    NamedSet,
    Node,
    Number,
    Power,
    Relation,
    Sequence,
    SetOf,
    SetOperation,
    Standing,
    Symbol,
    children,
)

INDEX_LETTERS = frozenset("nkmjlNMK")
"""Letters that are integers under a floor, a ceiling or a remainder, if they are not declared."""
_ROUNDING = frozenset(("floor", "ceil", "mod"))
_OF_INTEGERS = frozenset(("factorial", "double_factorial", "binom"))
_OF_POSITIVES = frozenset(("gcd", "lcm"))
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "≠": "≠"}


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of numbers: integers only or all, between two bounds, without some values."""

    whole: bool = False
    low: Fraction | None = None
    low_open: bool = False
    high: Fraction | None = None
    high_open: bool = False
    without: frozenset[Fraction] = field(default_factory=frozenset)
    name: str = ""
    """The named set that was written: ``Q`` and ``C`` are tested like the reals, but are not equal to them."""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, Fraction) or value in self.without:
            return False
        if self.whole and value.denominator != 1:
            return False
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return self.high is None or value < self.high or (not self.high_open and value == self.high)

    def moved(self, value: Fraction) -> Fraction:
        """Return a value drawn anywhere, moved into the domain's bounds."""
        if value in self:
            return value
        if self.low is not None and self.high is not None:
            share = Fraction(1, 2) + value / (2 * (1 + abs(value)))
            value = self.low + (self.high - self.low) * share
        elif self.low is not None:
            value = self.low + abs(value)
        elif self.high is not None:
            value = self.high - abs(value)
        return Fraction(round(value)) if self.whole else value

    def closed(self) -> Domain:
        """Return the domain with the bounds of integers written in one way: ``n > 0`` as ``n ≥ 1``."""
        if not self.whole:
            return self
        low, high = self.low, self.high
        if low is not None:
            low = Fraction(math.floor(low) + 1 if self.low_open else math.ceil(low))
        if high is not None:
            high = Fraction(math.ceil(high) - 1 if self.high_open else math.floor(high))
        while low in self.without:
            low += 1
        while high in self.without:
            high -= 1
        without = frozenset(
            value
            for value in self.without
            if value.denominator == 1 and (low is None or value >= low) and (high is None or value <= high)
        )
        return Domain(True, low, False, high, False, without, "Z")

    def same(self, other: Domain) -> bool:
        r"""Whether two declarations mean one domain: bounds alone (``n \ge 1``) are of integers against integers."""
        if self.whole != other.whole and "" in (self.name, other.name):
            return self._of_integers() == other._of_integers()
        return replace(self.closed(), name=self.name or "R") == replace(
            other.closed(), name=other.name or "R"
        )

    def _of_integers(self) -> Domain:
        return replace(self, whole=True).closed()

    def is_usual(self) -> bool:
        """Return whether it is a whole number system, which an answer need not name where it is clear."""
        return not self.without and self.high is None and self.low in (None, 0, 1) and bool(self.name)

    def intersection(self, other: Domain) -> Domain:
        """Return what belongs to both."""
        low, low_open = max(
            ((side.low, side.low_open) for side in (self, other) if side.low is not None),
            default=(None, False),
        )
        high, closed = min(
            ((side.high, not side.high_open) for side in (self, other) if side.high is not None),
            default=(None, True),
        )
        name = self.name or other.name
        return Domain(
            self.whole or other.whole, low, low_open, high, not closed, self.without | other.without, name
        ).closed()


Domains = Mapping[str, Domain]
REALS = Domain()
INTEGERS = Domain(whole=True, name="Z")
_NAMED = {
    "R": Domain(name="R"),
    "R+": Domain(low=Fraction(0), low_open=True, name="R"),
    "R-": Domain(high=Fraction(0), high_open=True, name="R"),
    "R*": Domain(without=frozenset((Fraction(0),)), name="R"),
    **dict.fromkeys(("R≥0", "R+0", "R0+"), Domain(low=Fraction(0), name="R")),
    "R≤0": Domain(high=Fraction(0), name="R"),
    "R<0": Domain(high=Fraction(0), high_open=True, name="R"),
    "Q": Domain(name="Q"),
    "Q+": Domain(low=Fraction(0), low_open=True, name="Q"),
    "C": Domain(name="C"),
    "Z": INTEGERS,
    "Z+": Domain(whole=True, low=Fraction(1), name="Z"),
    "Z≥1": Domain(whole=True, low=Fraction(1), name="Z"),
    "Z-": Domain(whole=True, high=Fraction(-1), name="Z"),
    "Z*": Domain(whole=True, without=frozenset((Fraction(0),)), name="Z"),
    **dict.fromkeys(("N", "Z≥0"), Domain(whole=True, low=Fraction(0), name="Z")),
    "N+": Domain(whole=True, low=Fraction(1), name="Z"),
    "N*": Domain(whole=True, low=Fraction(1), name="Z"),
}


def named_domain(name: str) -> Domain | None:
    r"""Return the domain that a named set is, in any spelling: ``Z^+``, ``N_{+}``, ``N\cdot`` (as a star is read)."""
    mark = name[1:].strip("^_{} ").replace("\\cdot", "*").replace("\\ast", "*").replace(">0", "+")
    if mark.startswith("≥") or mark == "0":
        mark = "" if name[0] == "N" else mark
    return _NAMED.get(name[:1] + mark)


def declaration(node: Node | None, budget: Budget) -> tuple[str, Domain] | None:
    r"""Return the letter and domain that a condition on one letter declares: ``k \in \mathbb{Z}``, ``1 \le n < 5``."""
    match node:
        case Relation(operands=(Symbol(name=letter), where), operators=("∈",)):
            domain = _set_domain(where, budget)
            return None if domain is None else (letter, domain)
        case Relation(operands=operands, operators=operators) if set(operators) <= set(_FLIPPED):
            return _bounds(operands, operators, budget)
    return None


def _set_domain(where: Node, budget: Budget) -> Domain | None:
    match where:
        case NamedSet(name=name):
            return named_domain(name)
        case SetOperation(operator="difference", operands=(NamedSet(name=name), SetOf(items=items))):
            domain = named_domain(name)
            try:
                without = frozenset(rational(item, budget) for item in items)
            except (NotExactError, UndefinedError):
                return None
            return None if domain is None else domain.intersection(Domain(without=without))
        case Sequence(items=(low, high), left="(" | "[" as left, right=")" | "]" as right):
            ends = [_end(low, budget), _end(high, budget)]
            if ends[0] is not None and ends[1] is not None and ends != [(), ()]:
                domain = Domain(low=(*ends[0], None)[0], high=(*ends[1], None)[0])
                return replace(
                    domain, low_open=left == "(" and bool(ends[0]), high_open=right == ")" and bool(ends[1])
                )
    return None


def _end(node: Node, budget: Budget) -> tuple[Fraction, ...] | None:
    """Return the end of an interval, nothing where it is infinite; ``None`` where it is not rational."""
    if any(item == Constant("infinity") for item in walk(node)):
        return ()
    try:
        return (rational(node, budget),)
    except (NotExactError, UndefinedError):
        return None


def _bounds(
    operands: tuple[Node, ...], operators: tuple[str, ...], budget: Budget
) -> tuple[str, Domain] | None:
    letters = [node.name for node in operands if isinstance(node, Symbol)]
    if len(letters) != 1:
        return None
    domain = REALS
    for left, operator, right in zip(operands, operators, operands[1:], strict=False):
        if not isinstance(left, Symbol):
            left, operator, right = right, _FLIPPED[operator], left
        if not isinstance(left, Symbol):
            return None
        try:
            bound = rational(right, budget)
        except (NotExactError, UndefinedError):
            return None
        match operator:
            case "≠":
                domain = domain.intersection(Domain(without=frozenset((bound,))))
            case "<" | "≤":
                domain = domain.intersection(Domain(high=bound, high_open=operator == "<"))
            case _:
                domain = domain.intersection(Domain(low=bound, low_open=operator == ">"))
    return letters[0], domain


def with_index_letters(domains: Domains, *nodes: Node) -> Domains:
    """Return the domains, and integers for every letter that nodes use as one without a declaration."""
    found = dict(domains)
    for node in nodes:
        for name, domain in _index_letters(node):
            if name not in domains:
                found[name] = found.get(name, INTEGERS).intersection(domain)
    return found


def _index_letters(node: Node) -> Iterator[tuple[str, Domain]]:
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Standing):
            continue
        stack.extend(children(item))
        match item:
            case Call(function=function) if function in _OF_INTEGERS:
                yield from ((name, INTEGERS) for name in names_in(item))
            case Call(function=function) if function in _OF_POSITIVES:
                yield from ((name, _NAMED["N+"]) for name in names_in(item))
            case Call(function=function) if function in _ROUNDING:
                yield from (
                    (name, INTEGERS) for name in names_in(item) if name.split("_")[0] in INDEX_LETTERS
                )
                if function == "mod":
                    yield from _exponents(item)
            case Power(base=Number(value=value), exponent=exponent) if value < 0:
                yield from ((name, INTEGERS) for name in names_in(exponent))


def _exponents(node: Node) -> Iterator[tuple[str, Domain]]:
    """Yield letters in exponents under a remainder: ``3^n`` is whole for no negative ``n``."""
    for item in walk(node):
        if isinstance(item, Power):
            yield from (
                (name, _NAMED["N"]) for name in names_in(item.exponent) if name.split("_")[0] in INDEX_LETTERS
            )
