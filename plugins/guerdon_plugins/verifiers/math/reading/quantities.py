"""The grammar of quantities: values with units, money, percent, degrees, words that scale, ranges."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    Constant,
    Node,
    Number,
    Product,
    Quantity,
    Span,
    Text,
    Unit,
    negate,
)
from guerdon_plugins.verifiers.math.reading import units
from guerdon_plugins.verifiers.math.reading.arithmetic import number
from guerdon_plugins.verifiers.math.reading.commands import CommandParser
from guerdon_plugins.verifiers.math.reading.nouns import counted_noun
from guerdon_plugins.verifiers.math.reading.number_words import BELOW_ZERO, MULTIPLIERS, read_fraction_word
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import (
    CONSEQUENCE_WORDS,
    CURRENCIES,
    CURRENCY_WORDS,
    JOINING_WORDS,
)

_DEGREE_WORDS = re.compile(r"(?:degrees?|deg|度)\.?(?:\s*(celsius|centigrade|c|fahrenheit|f))?")
_PERCENT_WORDS = frozenset(("percent", "pct", "per cent", "percents"))
_ARC_MINUTES = frozenset(("minute", "minutes", "min", "分", "arcminutes", "arcmin"))
_ARC_SECONDS = frozenset(("second", "seconds", "sec", "秒", "arcseconds", "arcsec"))
_OF_A = re.compile(r"of\s+(?:an?|the)\s+")
_ENDS_OF_VALUES = frozenset((",", ";", ")", "\\}", "&", "\\\\"))
_CHANGES = frozenset(
    ("increase", "decrease", "profit", "loss", "gain", "discount", "off", "markup", "reduction")
)
"""What a percentage after a number is: a reference may say it and an answer not."""
_TO = frozenset(("to", "到", "至"))
_MAX_BITS = 4_000
_FEN = Unit((("分", 1),))
_DEGREE = Constant("degree")


class QuantityParser(CommandParser):
    """Reads a value with its unit and the words around it."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._conditions = 0
        """Open conditions: ``时`` closes one, and is not the unit of time."""
        self._counts_things = counts_things(tokens)

    def _quantity(self) -> Node:
        if (span := self._hyphenated()) is not None:
            return span
        sign, currency = self._currency()
        value = self._sum()
        if sign < 0:
            value = negate(value)
        value, powers = self._with_units(value)
        if currency and not any(power > 0 for power in powers.values()):
            powers[currency] += 1
        elif self._peek() in CURRENCIES and not powers:
            powers[CURRENCIES[self._next().text]] = 1
        if not powers:
            return self._with_words_for_arcs(value)
        return self._compound(Quantity(value, units.make_unit(powers)))

    def _currency(self) -> tuple[int, str | None]:
        r"""Return a sign and the money before a number: ``-\\$5``, ``Rs. 5``, ``US\\$5``."""
        ahead = int(self._peek() == "-")
        found = None
        if self._kind(ahead) == "text" and self._peek(ahead) in CURRENCY_WORDS:
            money = self._kind(ahead + 1) == "num" or self._peek(ahead + 1) in (*CURRENCIES, ".")
            found = CURRENCY_WORDS[self._peek(ahead)] if money else None
            ahead += 1 + (self._peek(ahead + 1) == ".") if found else 0
        if self._peek(ahead) in CURRENCIES and self._kind(ahead) != "text":
            found = found or CURRENCIES[self._peek(ahead)]
            ahead += 1
        if found is None:
            return 1, None
        sign = -1 if self._peek() == "-" else 1
        self._position += ahead
        return sign, found

    def _with_units(self, value: Node) -> tuple[Node, Counter[str]]:
        powers: Counter[str] = Counter()
        while (found := self._unit(value)) is not None:
            if isinstance(found, Unit):
                powers.update(dict(found.powers))
            else:
                value = found
        return value, powers

    def _unit(self, value: Node) -> Unit | Node | None:
        """Return the unit at this place, or the value changed by the word there; ``None`` if there is neither."""
        if self._kind() == "text" and _of_a_thing(self._peek()):
            self._position += 1
            return value
        below = self._peek() in ("/", "\\cdot") and self._kind(1) == "text"
        if self._kind(int(below)) != "text" or isinstance(value, Text):
            return None
        token = self._tokens[self._position + below]
        words = token.text.strip()
        if words in JOINING_WORDS or (words in CONSEQUENCE_WORDS and self._closes_condition()):
            return None
        if words in ("divides", "整除"):
            return None
        if not below and (changed := self._scaled(value, words)) is not None:
            return changed
        if not below and words.lower() in _CHANGES and _is_percent(value):
            self._position += 1
            return Unit(((words.lower(), 1),))
        one = isinstance(value, Number) and abs(value.value) <= 1
        start = self._position
        self._position += 1 + below
        exponent = self._unit_exponent()
        unit = units.read_unit(
            words if exponent == 1 else f"{words}^{exponent}", one=one or below, any_noun=self._counts_things
        )
        if unit is None:
            self._position = start
            return None
        sign = -1 if below and self._tokens[start].text == "/" else 1
        return Unit(tuple((name, sign * power) for name, power in unit.powers))

    def _closes_condition(self) -> bool:
        return self._conditions > 0 or self._kind(1) not in ("end", "text")

    def _unit_exponent(self) -> int:
        if not self._accept("^"):
            return 1
        exponent = self._nested(self._exponent)
        if not isinstance(exponent, Number) or exponent.value.denominator != 1 or abs(exponent.value) > 9:
            raise UnreadableError("a unit with an odd exponent")
        return int(exponent.value)

    def _scaled(self, value: Node, words: str) -> Node | None:
        """Return the value under a word that scales it ("million", "thirds", "percent"), of which the rest stays."""
        lowered = words.lower().strip(" .,")
        token = self._tokens[self._position]
        if match := _DEGREE_WORDS.fullmatch(lowered):
            self._position += 1
            scale = (match[1] or " ")[0]
            if scale == " ":
                return Product((value, _DEGREE))
            return Quantity(value, Unit((("fahrenheit" if scale == "f" else "celsius", 1),)))
        if lowered in _PERCENT_WORDS:
            self._position += 1
            return Product((value, Constant("percent")))
        if lowered in BELOW_ZERO:
            self._position += 1
            below = negate(value)
            return Product((below, _DEGREE)) if "degree" in lowered else below
        if words.startswith("百分"):
            return None
        first, _, rest = words.partition(" ")
        if not first.isascii() and not units.is_name(first) and not units.read_unit(first):
            first, rest = words[0], words[1:].strip()
        factor = _factor(first, value)
        if factor is None:
            return None
        token.text = _OF_A.sub("", rest, count=1)
        self._position += not token.text
        if isinstance(value, Number):
            if value.value.numerator.bit_length() > _MAX_BITS:
                raise TooLargeError("too many words that scale a number")
            return Number(value.value * factor, value.decimal)
        return Product((value, Number(factor)))

    # Several units, arcs, ranges

    def _compound(self, first: Quantity) -> Node:
        """Read ``5 ft 6 in`` in the first unit: parts in smaller and smaller units of one kind."""
        parts: list[Node] = [first.value]
        smallest = first.unit
        while len(parts) < 4:
            start = self._position
            if self._kind() == "text" and self._peek() == "and":
                self._position += 1
            if self._kind() != "num" or not isinstance(first.value, Number):
                self._position = start
                break
            value, powers = self._with_units(self._term())
            unit = _hundredth_or_minute(units.make_unit(powers), first.unit)
            ratio = _ratio(unit, first.unit)
            smaller = _ratio(unit, smallest)
            if (
                not powers
                or ratio is None
                or smaller is None
                or smaller >= 1
                or not isinstance(value, Number)
            ):
                self._position = start
                break
            parts.append(Number(value.value * ratio))
            smallest = unit
        if len(parts) == 1:
            return first
        total = sum((part.value for part in parts if isinstance(part, Number)), Fraction(0))
        return Quantity(Number(total), first.unit)

    def _with_words_for_arcs(self, value: Node) -> Node:
        """Read ``60 degrees 30 minutes`` in degrees."""
        match value:
            case Product(factors=(Number(value=degrees), Constant(name="degree"))) if self._kind() == "num":
                for words, scale in ((_ARC_MINUTES, 60), (_ARC_SECONDS, 3600)):
                    if self._kind() == "num" and self._kind(1) == "text" and self._peek(1).strip() in words:
                        degrees += number(self._next()).value / scale
                        self._position += 1
                return Product((Number(degrees), _DEGREE))
        return value

    def _hyphenated(self) -> Node | None:
        r"""``3-5``, ``555-1234``, ``10-15\%``: whole numerals that hyphens join are a range, not a subtraction."""
        if (
            self._depth
            or self._kind() != "num"
            or "-" not in (self._peek(1), self._peek(2))
            or not self._starts_item()
        ):
            return None
        parts: list[Node] = []
        length = percents = 0
        while self._kind(length) == "num":
            parts.append(number(self._tokens[self._position + length]))
            percent = self._peek(length + 1) in ("\\%", "%")
            percents += percent
            length += 1 + percent
            if self._peek(length) != "-" or self._kind(length + 1) != "num":
                break
            length += 1
        ends = self._kind(length) in ("end", "text") or self._peek(length) in _ENDS_OF_VALUES
        if len(parts) < 2 or not ends:
            return None
        self._position += length
        if percents:
            parts = [Product((part, Constant("percent"))) for part in parts]
        value, powers = self._with_units(Span(tuple(parts)))
        return Quantity(value, units.make_unit(powers)) if powers else value

    def _starts_item(self) -> bool:
        before = self._tokens[self._position - 1] if self._position else None
        return before is None or before.kind == "text" or before.text in (",", ";", "=", "\\approx")

    def _to(self, low: Node) -> Node | None:
        """Read ``3 to 5`` after its first number: a range, or a ratio in words."""
        if self._depth or self._kind() != "text" or self._peek() not in _TO or not self._starts_factor(1):
            return None
        word = self._next().text
        high = self._quantity()
        if isinstance(high, Quantity) and not isinstance(low, Quantity):
            return Quantity(Span((low, high.value)), high.unit)
        return Span((low, high), or_ratio=word == "to")


def counts_things(tokens: list[Token]) -> bool:
    """Return whether an answer is a list of numbers with a word of its own each: ``2 red, 3 blue``."""
    if len(tokens) < 5 or tokens[0].kind != "num" or tokens[1].kind != "text":
        return False
    words = []
    for place, token in enumerate(tokens):
        kind = place % 3
        if kind == 2 and token.text not in (",", ";", "and"):
            return False
        if kind < 2 and token.kind != ("num", "text")[kind]:
            return False
        if kind == 1:
            words.append(token.text.strip().casefold())
    nouns = [counted_noun(word.split(), any_noun=True) for word in words]
    return len(tokens) % 3 == 2 and None not in nouns and len(set(words)) == len(words)


def _is_percent(value: Node) -> bool:
    return isinstance(value, Product) and value.factors[-1] == Constant("percent")


def _of_a_thing(words: str) -> bool:
    """Return whether words only say of what a number is the part: "of the cake"."""
    first, *rest = words.split() or [""]
    return (
        first == "of"
        and bool(rest)
        and counted_noun(rest[rest[0] in ("the", "a", "an") :], any_noun=True) is not None
    )


def _hundredth_or_minute(unit: Unit, first: Unit) -> Unit:
    """Read ``分``: after hours a minute, after yuan a hundredth of one, alone a number of points."""
    if unit != _FEN:
        return unit
    return Unit((("minute", 1),)) if first == Unit((("hour", 1),)) else Unit((("fen", 1),))


def _factor(word: str, value: Node) -> Fraction | None:
    lowered = word.lower().strip(" .,")
    if lowered == "折":
        small = isinstance(value, Number) and value.value < 10
        return Fraction(1, 10) if small else Fraction(1, 100)
    if lowered in MULTIPLIERS:
        return MULTIPLIERS[lowered]
    return read_fraction_word(lowered, one=isinstance(value, Number) and abs(value.value) == 1)


def _ratio(unit: Unit, other: Unit) -> Fraction | None:
    """Return how many of the other unit one unit is, or ``None`` where they measure different things."""
    (base, factor), (other_base, other_factor) = units.to_base(unit), units.to_base(other)
    return factor / other_factor if base == other_base and unit.powers else None
