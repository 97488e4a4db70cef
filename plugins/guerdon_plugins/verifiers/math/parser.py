"""The grammar: from tokens to the typed tree, by recursive descent.

``listing`` > ``clause`` > ``relation`` > ``operand`` (ratios, set operations, units) > ``sum`` > ``term`` >
``power`` > ``primary``. Every loop and every level of nesting is bounded.
"""

from __future__ import annotations

import re
from collections import Counter

from guerdon_plugins.verifiers.math import units
from guerdon_plugins.verifiers.math.commands import CommandParser
from guerdon_plugins.verifiers.math.nodes import (
    BaseNumeral,
    Clock,
    Conditional,
    Congruence,
    Constant,
    Listing,
    Node,
    Number,
    Product,
    Quantity,
    Ratio,
    Relation,
    SetOperation,
    Text,
    Unit,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.options import plain_option
from guerdon_plugins.verifiers.math.tokens import Token, TooLargeError, UnreadableError, clean, tokenize
from guerdon_plugins.verifiers.math.vocabulary import (
    CONDITION_WORDS,
    CURRENCIES,
    NUMBER_WORDS,
    ORDER,
    OTHERWISE,
    RELATIONS,
    SET_OPERATIONS,
)

_CLOSERS = frozenset((")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "\\|", "|", "&", "\\\\"))
_CLOCK = re.compile(
    r"(\d{1,2})\s*:\s*([0-5]\d)\s*(?:\\text\{|\\mbox\{|\\mathrm\{)?\s*([aApP])\.?\s*\\?,?[mM]\b\.*\}?\.*"
)
_SHORT_CLOCK = re.compile(r"(\d{1,2})\s*:\s*([0-5]\d)\s*([ap])?\.?", re.IGNORECASE)
_WIDE_NUMERAL = re.compile(
    r"\(?((?:[0-9A-F]|\\(?:text|mathrm)\{[0-9A-F]+\})+)\)?_\{?\s*(?:\\text\{)?(\d+|[a-z]+)\}?\}?"
)
_TEXT_GROUP = re.compile(r"\\(?:text|mathrm)\{([0-9A-F]+)\}")
_SEPARATORS = {",": ",", ";": ";", "\\lor": "or", "\\cup": "or", "\\land": "and", "\\cap": "and"}
_PROSE = re.compile(r"[^\W\d_]{2,}")
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore|the|our|my|final|correct|required|total|value|number|of)\s+)*"
    r"(?:answer|result|value|solution|total|sum|area)s?\s*(?:(?:is|are|equals|be|must be|will be)\b)?\s*:?",
    re.IGNORECASE,
)
_LEAD_OUT = re.compile(
    r"(?:(?:it|this|that|x|which)\s+)?(?:is|equals|are)\s*:?|approx(?:imately|\.)?", re.IGNORECASE
)


def parse(text: str) -> Node:
    """Read one answer, as it stands in a box or in a data set's column.

    Raises:
        UnreadableError: It is no answer that this grammar knows.
        TooLargeError: It is too long or nested too deeply.
    """
    cleaned = clean(text)
    if not cleaned:
        raise UnreadableError("it is empty")
    if special := _parse_special(cleaned):
        return special
    tokens = tokenize(cleaned)
    if not tokens:
        raise UnreadableError("it is empty")
    try:
        return _Parser(_without_lead_in(tokens)).document()
    except TooLargeError:
        raise
    except UnreadableError:
        if any(token.kind == "text" and _PROSE.search(token.text) for token in tokens):
            return Text(" ".join(token.text for token in tokens))
        raise


def _parse_special(text: str) -> Node | None:
    """Forms that are told by the whole string: times of day, numerals with letters for digits, choices."""
    if match := _CLOCK.fullmatch(text) or _SHORT_CLOCK.fullmatch(text):
        half = match[3].lower() + "m" if match[3] else ""
        return Clock(int(match[1]), int(match[2]), half)
    if match := _WIDE_NUMERAL.fullmatch(text):
        digits = _TEXT_GROUP.sub(r"\1", match[1])
        base = int(match[2]) if match[2].isdigit() else NUMBER_WORDS.get(match[2], 0)
        if digits[0].isdigit() and 2 <= base <= 36 and all(int(digit, 36) < base for digit in digits):
            return BaseNumeral(digits.lstrip("0") or "0", base)
    option = plain_option(text)
    return None if option is None else Text(option)


def _without_lead_in(tokens: list[Token]) -> list[Token]:
    first = tokens[0]
    if first.kind == "text" and len(tokens) > 1 and tokens[1].text not in RELATIONS:
        words = first.text.strip(" :")
        if words and (_LEAD_IN.fullmatch(words) or _LEAD_OUT.fullmatch(words)):
            return tokens[1:]
    return tokens


class _Parser(CommandParser):
    def document(self) -> Node:
        result = self._listing()
        if self._position < len(self._tokens):
            raise UnreadableError(f"cannot read on at {self._peek()!r}")
        return result

    def _listing(self) -> Node:
        groups: list[list[Node]] = [[]]
        joiner = ","
        while True:
            groups[-1].append(self._clause())
            found = self._separators()
            if ";" in found:
                groups.append([])
            for word in ("or", "and"):
                joiner = word if word in found else joiner
            if not found or self._at_end():
                break
        groups = [group for group in groups if group]
        if len(groups) > 1 and any(len(group) > 1 for group in groups):
            return Listing(tuple(_listed(group, ",") for group in groups), ",")
        return _listed([item for group in groups for item in group], joiner)

    def _separators(self) -> list[str]:
        found: list[str] = []
        while True:
            text = self._peek()
            if self._kind() == "text" and text in ("and", "or", "和", "或", "及", "与"):
                found.append({"和": "and", "及": "and", "与": "and", "或": "or"}.get(text, text))
            elif self._kind() != "text" and text in _SEPARATORS:
                found.append(_SEPARATORS[text])
            else:
                return found
            self._position += 1

    def _at_end(self) -> bool:
        return self._kind() == "end" or (self._kind() != "text" and self._peek() in _CLOSERS)

    def _clause(self) -> Node:
        if self._kind() == "text" and self._peek().lower().strip(" ,") in CONDITION_WORDS:
            self._position += 1
        result = self._relation()
        if self._kind() == "text":
            words = self._peek().lower().strip(" ,")
            if words in OTHERWISE:
                self._position += 1
                return Conditional(result, None)
            if words in CONDITION_WORDS:
                self._position += 1
                return Conditional(result, self._relation())
        return result

    def _relation(self) -> Node:
        operands = [self._operand()]
        operators: list[str] = []
        # In x < 1 \cup x > 2 the sign joins the relations, not the 1 and the x.
        # In the rows of an environment a mark for alignment may stand before or after the sign.
        while self._kind() != "text" and (operator := RELATIONS.get(self._peek(self._peek() == "&"))):
            self._position += 1 + (self._peek() == "&")
            self._accept("&")
            operators.append(operator)
            operands.append(self._quantity() if operator in ORDER else self._operand())
        modulus = self._modulus()
        if modulus is not None:
            if len(operands) == 1:
                return Congruence(Text(""), operands[0], modulus)
            if operators in (["≡"], ["="]):
                return Congruence(operands[0], operands[1], modulus)
            raise UnreadableError("a modulus after something that is no congruence")
        return Relation(tuple(operands), tuple(operators)) if operators else operands[0]

    def _modulus(self) -> Node | None:
        if self._accept("\\pmod") or self._accept("\\mod"):
            return self._argument()
        if self._peek() == "(" and self._peek(1) in ("mod", "\\mod", "\\bmod"):
            self._position += 2
            modulus = self._sum()
            self._expect(")")
            return modulus
        if self._peek() == "mod" or (self._peek() == "\\bmod" and self._kind() == "cmd"):
            self._position += 1
            return self._sum()
        return None

    def _operand(self) -> Node:
        parts = [self._quantity()]
        if self._peek() == ":" and not self._no_ratio:
            while self._accept(":"):
                parts.append(self._quantity())
            return Ratio(tuple(parts))
        result = parts[0]
        while (operator := SET_OPERATIONS.get(self._peek())) and self._kind() == "cmd":
            self._position += 1
            right = self._quantity()
            if isinstance(result, SetOperation) and result.operator == operator == "union":
                result = SetOperation(operator, (*result.operands, right))
            else:
                result = SetOperation(operator, (result, right))
        return result

    def _quantity(self) -> Node:
        sign = -1 if self._peek() == "-" and self._peek(1) in CURRENCIES else 1
        currency = CURRENCIES.get(self._peek(sign == -1))
        if currency:
            self._position += 1 + (sign == -1)
        value = self._sum()
        if sign == -1:
            value = negate(value)
        powers: Counter[str] = Counter()
        while (unit := self._unit(value)) is not None:
            if isinstance(unit, Number | Constant):
                value = Product((value, unit))
            else:
                powers.update(dict(unit.powers))
        if currency:
            powers[currency] += 1 if not powers else 0
        elif self._peek() in CURRENCIES and not powers:
            powers[CURRENCIES[self._next().text]] = 1
        return Quantity(value, units.make_unit(powers)) if powers else value

    def _unit(self, value: Node) -> Unit | Number | Constant | None:
        below = self._peek() in ("/", "\\cdot") and self._kind(1) == "text"
        token = self._tokens[self._position + below] if self._kind(int(below)) == "text" else None
        if token is None or isinstance(value, Text):
            return None
        words = token.text.strip()
        sign = -1 if below and self._peek() == "/" else 1
        lowered = words.lower().strip(".")
        if not below and (special := _special_unit(lowered)):
            self._position += 1
            if isinstance(special, Number) and (rest := _after_multiplier(words)):
                token.text = rest
                self._position -= 1
            return special
        unit = units.read_unit(words)
        if unit is None:
            return None
        self._position += 1 + below
        powers = list(unit.powers)
        if self._accept("^"):
            exponent = self._nested(self._exponent)
            if not isinstance(exponent, Number) or exponent.value.denominator != 1 or abs(exponent.value) > 9:
                raise UnreadableError("a unit with an odd exponent")
            name, power = powers[-1]
            powers[-1] = (name, power * int(exponent.value))
        return Unit(tuple((name, sign * power) for name, power in powers))


def _after_multiplier(words: str) -> str:
    first, _, rest = words.partition(" ")
    return rest if first.isascii() else words[1:].strip()


def _listed(items: list[Node], joiner: str) -> Node:
    return items[0] if len(items) == 1 else Listing(tuple(items), joiner)


def _special_unit(words: str) -> Number | Constant | None:
    first = words.split()[0] if words else ""
    if words in ("degrees", "degree", "deg", "度"):
        return Constant("degree")
    if words in ("percent", "pct", "per cent"):
        return Constant("percent")
    if first in units.MULTIPLIERS:
        return integer(units.MULTIPLIERS[first])
    if first[:1] in units.MULTIPLIERS and not units.is_name(first):
        return integer(units.MULTIPLIERS[first[0]])
    return None
