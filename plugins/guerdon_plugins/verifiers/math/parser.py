"""The grammar: from tokens to the typed tree, by recursive descent.

``listing`` > ``clause`` > ``relation`` > ``operand`` (ratios, set operations, units) > ``sum`` > ``term`` >
``power`` > ``primary``. Every loop and every level of nesting is bounded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from guerdon_plugins.verifiers.math import units
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    BaseNumeral,
    Call,
    Cases,
    Clock,
    Conditional,
    Congruence,
    Constant,
    Dots,
    Listing,
    Matrix,
    NamedSet,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quantity,
    Quotient,
    Ratio,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    SetOperation,
    Standing,
    Sum,
    Symbol,
    Text,
    Unit,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.tokens import (
    FUNCTIONS,
    SYMBOL_COMMANDS,
    Token,
    TooLargeError,
    UnreadableError,
    clean,
    tokenize,
)

MAX_DEPTH = 40
"""Levels of nesting; a level takes several of Python's stack frames."""

_RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "<=": "≤",
    "\\le": "≤",
    ">=": "≥",
    "\\ge": "≥",
    "!=": "≠",
    "\\ne": "≠",
    "\\approx": "≈",
    "\\in": "∈",
    "\\notin": "∉",
    "\\equiv": "≡",
    "\\to": "→",
    "->": "→",
    "\\cong": "≅",
    "\\sim": "∼",
    "\\subset": "⊂",
    "\\subseteq": "⊆",
    "\\perp": "⊥",
    "\\parallel": "∥",
}
_SET_OPERATIONS = {"\\cup": "union", "\\cap": "intersection", "\\setminus": "difference"}
_TIMES = frozenset(("\\cdot", "\\times"))
_DIVIDE = frozenset(("/", "\\div"))
_CLOSERS = frozenset((")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "\\|", "|", "&", "\\\\"))
_DECORATIONS = frozenset(
    ("bar", "hat", "vec", "tilde", "overbrace", "underbrace", "widetilde", "overleftrightarrow")
)
_CONDITION_WORDS = frozenset(
    ("if", "for", "when", "where", "with", "as", "for all", "and if", "provided", "for any")
)
_OTHERWISE = frozenset(("otherwise", "else", "if otherwise"))
_CURRENCIES = {"\\$": "dollar", "€": "euro", "£": "sterling", "¥": "yuan"}
_CLOCK = re.compile(
    r"(\d{1,2})\s*:\s*([0-5]\d)\s*(?:\\text\{|\\mbox\{|\\mathrm\{)?\s*([aApP])\.?\s*\\?,?[mM]\b\.*\}?\.*"
)
_SHORT_CLOCK = re.compile(r"(\d{1,2})\s*:\s*([0-5]\d)\s*([ap])\.*", re.IGNORECASE)
_WIDE_NUMERAL = re.compile(r"([0-9A-Fa-f]+)_\{?\s*(?:\\text\{)?(\d+)\}?\}?")
_CHOICE = re.compile(
    r"(?:\\(?:text|textbf|mathrm|mathbf|textrm)\{)?\s*\(([A-Z])\)\s*\}?(?:\\[ ~,;:]|\\quad|\s)*"
)
_PROSE = re.compile(r"[^\W\d_]{2,}")
_LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore|the|our|my|final|correct|required|total|value|number|of)\s+)*"
    r"(?:answer|result|value|solution|total|sum|area)s?\s*(?:(?:is|are|equals|be|must be|will be)\b)?\s*:?",
    re.IGNORECASE,
)
_LEAD_OUT = re.compile(r"(?:(?:it|this|that|x|which)\s+)?(?:is|equals|are)\s*:?", re.IGNORECASE)
_NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}


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
        return Clock(int(match[1]), int(match[2]), match[3].lower() + "m")
    if match := _WIDE_NUMERAL.fullmatch(text):
        digits, base = match[1].upper(), int(match[2])
        if digits[0].isdigit() and 2 <= base <= 36 and all(int(digit, 36) < base for digit in digits):
            return BaseNumeral(digits.lstrip("0") or "0", base)
    if match := _CHOICE.match(text):
        rest = text[match.end() :]
        if match[0].lstrip().startswith("\\") or not rest:
            return Text(match[1])
    return None


def _without_lead_in(tokens: list[Token]) -> list[Token]:
    first = tokens[0]
    if first.kind == "text" and len(tokens) > 1 and tokens[1].text not in _RELATIONS:
        words = first.text.strip(" :")
        if words and (_LEAD_IN.fullmatch(words) or _LEAD_OUT.fullmatch(words)):
            return tokens[1:]
    return tokens


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0
        self._bars = 0
        """Open absolute values: a bar closes the innermost one."""
        self._integrals = 0
        """Open integrals: a ``d`` before a letter ends the integrand."""
        self._no_ratio = 0
        """Open braces: a colon separates an element from its condition."""

    def document(self) -> Node:
        result = self._listing()
        if self._position < len(self._tokens):
            raise UnreadableError(f"cannot read on at {self._peek()!r}")
        return result

    # Tokens

    def _peek(self, ahead: int = 0) -> str:
        index = self._position + ahead
        return self._tokens[index].text if index < len(self._tokens) else ""

    def _kind(self, ahead: int = 0) -> str:
        index = self._position + ahead
        return self._tokens[index].kind if index < len(self._tokens) else "end"

    def _next(self) -> Token:
        if self._position >= len(self._tokens):
            raise UnreadableError("it ends too early")
        self._position += 1
        return self._tokens[self._position - 1]

    def _accept(self, text: str) -> bool:
        if self._kind() != "text" and self._peek() == text:
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise UnreadableError(f"expected {text!r}, found {self._peek() or 'the end'!r}")

    def _nested(self, rule: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLargeError(f"nested more than {MAX_DEPTH} levels deep")
        result = rule()
        self._depth -= 1
        return result

    # Lists and clauses

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
            elif self._kind() != "text" and text in (",", ";", "\\lor", "\\land"):
                found.append({"\\lor": "or", "\\land": "and"}.get(text, text))
            else:
                return found
            self._position += 1

    def _at_end(self) -> bool:
        return self._kind() == "end" or (self._kind() != "text" and self._peek() in _CLOSERS)

    def _clause(self) -> Node:
        if self._kind() == "text" and self._peek().lower().strip(" ,") in _CONDITION_WORDS:
            self._position += 1
        result = self._relation()
        if self._kind() == "text":
            words = self._peek().lower().strip(" ,")
            if words in _OTHERWISE:
                self._position += 1
                return Conditional(result, None)
            if words in _CONDITION_WORDS:
                self._position += 1
                return Conditional(result, self._relation())
        return result

    def _relation(self) -> Node:
        operands = [self._operand()]
        operators: list[str] = []
        while self._kind() != "text" and (operator := _RELATIONS.get(self._peek())):
            self._position += 1
            operators.append(operator)
            operands.append(self._operand())
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
        while (operator := _SET_OPERATIONS.get(self._peek())) and self._kind() == "cmd":
            self._position += 1
            right = self._quantity()
            if isinstance(result, SetOperation) and result.operator == operator == "union":
                result = SetOperation(operator, (*result.operands, right))
            else:
                result = SetOperation(operator, (result, right))
        return result

    # Quantities

    def _quantity(self) -> Node:
        sign = -1 if self._peek() == "-" and self._peek(1) in _CURRENCIES else 1
        currency = _CURRENCIES.get(self._peek(sign == -1))
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
        elif self._peek() in _CURRENCIES and not powers:
            powers[_CURRENCIES[self._next().text]] = 1
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
            if isinstance(special, Number) and lowered.split()[1:]:
                token.text = " ".join(words.split()[1:])
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

    # Arithmetic

    def _sum(self) -> Node:
        terms: list[Node] = []
        while True:
            sign = 1
            choice = 0
            signed = False
            while True:
                text = self._peek()
                if self._kind() == "text":
                    break
                if text == "-":
                    sign = -sign
                elif text == "\\pm" or (text == "+" and self._peek(1) == "/" and self._peek(2) == "-"):
                    choice = 1
                    self._position += 2 * (text == "+")
                elif text == "\\mp":
                    choice = -1
                elif text != "+":
                    break
                signed = True
                self._position += 1
            if terms and not signed:
                return terms[0] if len(terms) == 1 else Sum(tuple(terms))
            term = self._term()
            if sign < 0:
                term = negate(term)
            terms.append(PlusMinus(term, choice) if choice else term)

    def _term(self) -> Node:
        factors = [self._factor()]
        while True:
            text = self._peek()
            kind = self._kind()
            if kind == "text" or kind == "end":
                break
            if text in _TIMES:
                if self._kind(1) == "text":
                    break
                self._position += 1
                factors.append(self._signed_factor())
            elif text in _DIVIDE:
                if self._kind(1) == "text":
                    break
                self._position += 1
                numerator = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [Quotient(numerator, self._signed_factor())]
            elif text == "\\bmod" and self._starts_factor(1):
                self._position += 1
                left = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [Call("mod", (left, self._factor()))]
            elif self._starts_factor():
                self._implicit(factors)
            else:
                break
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _signed_factor(self) -> Node:
        sign = 1
        while self._peek() in ("-", "+") and self._kind() == "op":
            sign = -sign if self._next().text == "-" else sign
        return self._factor() if sign > 0 else negate(self._factor())

    def _implicit(self, factors: list[Node]) -> None:
        """A factor without an operator: a mixed number, or a product."""
        last = factors[-1]
        whole = isinstance(last, Number) and last.value.denominator == 1 and not last.decimal
        if whole and self._tokens[self._position - 1].kind == "num":
            assert isinstance(last, Number)
            if self._peek() == "\\frac":
                fraction = self._factor()
                if _is_proper(fraction):
                    factors[-1] = Number(last.value + _fraction_value(fraction))
                else:
                    factors.append(fraction)
                return
            if self._kind() == "num" and self._peek(1) == "/" and self._kind(2) == "num":
                numerator, _, denominator = self._next(), self._next(), self._next()
                assert numerator.value is not None
                assert denominator.value is not None
                quotient = Quotient(Number(numerator.value), Number(denominator.value))
                if _is_proper(quotient):
                    factors[-1] = Number(last.value + _fraction_value(quotient))
                    return
        if self._kind() == "num" and self._tokens[self._position - 1].kind == "num":
            raise UnreadableError("two numbers side by side")
        factors.append(self._factor())

    def _starts_factor(self, ahead: int = 0) -> bool:
        kind, text = self._kind(ahead), self._peek(ahead)
        if kind in ("num", "let", "name"):
            return not (text == "d" and self._integrals and self._kind(ahead + 1) in ("let", "cmd"))
        if kind == "op":
            if text == "|":
                return not self._bars
            if text == "(":
                return self._peek(ahead + 1) not in ("mod", "\\mod", "\\bmod")
            return text in ("{", "[")
        return kind == "cmd" and (
            text[1:] in FUNCTIONS
            or text[1:] in SYMBOL_COMMANDS
            or text in _PRIMARY_COMMANDS
            or text[1:] in _DECORATIONS
            or text.startswith("\\begin")
        )

    def _factor(self) -> Node:
        result = self._postfix(self._nested(self._primary))
        if self._accept("^"):
            result = self._power(result)
            result = self._postfix(result)
        return result

    def _power(self, base: Node) -> Node:
        if self._peek() == "\\circ":
            self._position += 1
            return self._degrees(base)
        if self._peek() == "{" and self._peek(1) == "\\circ" and self._peek(2) == "}":
            self._position += 3
            return self._degrees(base)
        if self._peek() == "{" and self._peek(1) in ("\\prime", "'"):
            self._position += 3
            return _primed(base)
        if self._accept("\\prime"):
            return _primed(base)
        if self._kind() == "text" or (self._peek() == "{" and self._kind(1) == "text"):
            braced = self._accept("{")
            if self._next().text in ("th", "st", "nd", "rd"):
                if braced:
                    self._expect("}")
                return base
            raise UnreadableError("words in an exponent")
        if self._peek() in ("\\top", "T") and isinstance(base, Matrix | Sequence):
            self._position += 1
            return Call("transpose", (base,))
        if self._peek() == "{" and self._peek(1) == "th":
            self._position += 3
            return base
        exponent = self._nested(self._exponent)
        if self._accept("^"):
            exponent = self._nested(lambda: self._power(exponent))
        return Power(base, exponent)

    def _degrees(self, base: Node) -> Node:
        scale = {"C": "celsius", "F": "fahrenheit"}.get(self._peek(), "")
        if scale and self._kind() in ("let", "text"):
            self._position += 1
            return Quantity(base, Unit(((scale, 1),)))
        return Product((base, Constant("degree")))

    def _exponent(self) -> Node:
        if self._peek() in ("-", "+") and self._kind() == "op":
            sign = self._next().text
            inner = self._exponent()
            return negate(inner) if sign == "-" else inner
        if self._kind() == "num":
            return _number(self._next())
        if self._peek() == "(" and self._kind() == "op":
            return self._postfix(self._primary())
        return self._primary()

    def _postfix(self, node: Node) -> Node:
        while self._kind() in ("op", "cmd"):
            text = self._peek()
            if text == "!":
                count = 0
                while self._accept("!"):
                    count += 1
                if count > 2:
                    raise TooLargeError(f"{count} factorials in a row")
                node = Call("factorial" if count == 1 else "double_factorial", (node,))
            elif text in ("\\%", "%"):
                self._position += 1
                node = Product((node, Constant("percent")))
            elif text == "'":
                self._position += 1
                node = _primed(node)
            elif (text == "\\circ" and self._peek(1) == "") or text == "\\textdegree":
                self._position += 1
                node = self._degrees(node)
            elif text == "_" and isinstance(node, Symbol | Number | Constant):
                self._position += 1
                node = self._subscript(node)
            elif text == "\\prime":
                self._position += 1
                node = _primed(node)
            else:
                break
        return node

    def _subscript(self, node: Symbol | Number | Constant) -> Node:
        if isinstance(node, Number):
            base = self._nested(self._exponent)
            digits = str(node.value.numerator) if node.value.numerator < 10**300 else ""
            if not isinstance(base, Number) or not 2 <= base.value <= 36 or node.value.denominator != 1:
                raise UnreadableError("a subscript that is no base")
            radix = int(base.value)
            if not digits or any(int(digit) >= radix for digit in digits):
                raise UnreadableError(f"a digit that base {radix} does not have")
            return BaseNumeral(digits, radix)
        if self._accept("{"):
            start = self._position
            if self._kind() != "text" and not self._flat_subscript():
                index = self._nested(self._listing)
                self._expect("}")
                return Apply(f"{node.name}_", (index,))
            while not self._accept("}"):
                self._next()
            text = "".join(token.text for token in self._tokens[start : self._position - 1])
        else:
            text = self._next().text
        return Symbol(f"{node.name}_{text}")

    def _flat_subscript(self) -> bool:
        """Whether a subscript is only letters and digits."""
        index = self._position
        while index < len(self._tokens) and self._tokens[index].kind in ("let", "num", "name", "text"):
            index += 1
        return index < len(self._tokens) and self._tokens[index].text == "}"

    # Primaries

    def _primary(self) -> Node:
        token = self._next()
        text = token.text
        if token.kind == "num":
            return _number(token)
        if token.kind == "let":
            return self._letter(text)
        if token.kind == "name":
            return Symbol(text)
        if token.kind == "text":
            return self._words(text)
        if text == "{":
            result = self._nested(self._listing) if self._peek() != "}" else Text("")
            self._expect("}")
            if result == Text("") and self._starts_factor():
                return self._factor()
            return result
        if text in ("(", "[", "\\langle"):
            return self._bracketed(text)
        if text == "]":  # ]0, 1[ as in France
            return self._bracketed("]")
        if text == "\\{":
            return self._set()
        if text == "|":
            return self._between_bars("|", "abs")
        if text == "\\|":
            return self._between_bars("\\|", "norm")
        if token.kind == "cmd":
            return self._command(text)
        raise UnreadableError(f"cannot read {text!r}")

    def _letter(self, letter: str) -> Node:
        if letter in ("e", "i"):
            return Constant(letter)
        if letter in "fgh" and self._peek() == "(":
            self._position += 1
            arguments = self._items(")")
            return Apply(letter, arguments)
        return Symbol(letter)

    def _words(self, words: str) -> Node:
        lowered = words.lower().strip(" .")
        if lowered in _NUMBER_WORDS:
            return integer(_NUMBER_WORDS[lowered])
        if len(lowered) == 1 and lowered in "ei":
            return Constant(words.strip(" ."))
        return Text(words)

    def _items(self, closer: str) -> tuple[Node, ...]:
        """The comma-separated items up to a closing token, which is taken."""
        inner = self._nested(self._listing)
        self._expect(closer)
        return inner.items if isinstance(inner, Listing) else (inner,)

    def _bracketed(self, left: str) -> Node:
        bars, self._bars = self._bars, 0
        ratio, self._no_ratio = self._no_ratio, 0
        inner = self._nested(self._listing)
        self._bars, self._no_ratio = bars, ratio
        closer = self._next().text
        pairs = {"(": (")", "]"), "[": ("]", ")"), "]": ("[", "]"), "\\langle": ("\\rangle", ">")}
        if closer not in pairs[left]:
            raise UnreadableError(f"{left!r} is closed by {closer!r}")
        if isinstance(inner, Listing):
            if left == "]" or closer == "[":
                left, closer = ("(" if left == "]" else left), (")" if closer == "[" else closer)
            return Sequence(inner.items, left.strip("\\"), closer.strip("\\"))
        if (left, closer) in (("(", ")"), ("[", "]")):
            return inner
        raise UnreadableError("brackets that do not match around one value")

    def _set(self) -> Node:
        if self._accept("\\}"):
            return SetOf(())
        bars, self._bars = self._bars, 1
        self._no_ratio += 1
        inner = self._nested(self._listing)
        self._bars = bars
        self._no_ratio -= 1
        if self._accept("|") or self._accept(":"):
            condition = self._nested(self._listing)
            self._expect("\\}")
            return SetBuilder(inner, condition)
        self._expect("\\}")
        return SetOf(inner.items if isinstance(inner, Listing) else (inner,))

    def _between_bars(self, bar: str, function: str) -> Node:
        self._bars += 1
        inner = self._nested(self._sum)
        self._bars -= 1
        self._expect(bar)
        return Call(function, (inner,))

    def _argument(self) -> Node:
        """A TeX argument: a group, or one token, of a numeral one digit."""
        if self._accept("{"):
            inner = self._nested(self._listing)
            self._expect("}")
            return inner
        token = self._next()
        if token.kind == "num" and len(token.text) > 1 and token.text.isdigit():
            rest = Token("num", token.text[1:], value=Fraction(int(token.text[1:4000])))
            self._tokens.insert(self._position, rest)
            return integer(int(token.text[0]))
        self._position -= 1
        return self._nested(self._primary)

    def _command(self, command: str) -> Node:
        name = command[1:]
        if name in _CONSTANT_COMMANDS:
            return _CONSTANT_COMMANDS[name]
        if name in SYMBOL_COMMANDS:
            return Symbol(name)
        if rule := getattr(self, f"_{name}_command", None):
            result: Node = rule()
            return result
        if name in ("sum", "prod", "int", "lim"):
            return self._big_operator(name)
        if name in FUNCTIONS or name in ("floor", "ceil", "abs", "cbrt"):
            return self._function(name)
        if name in _DECORATIONS:
            return _decorated(name, self._argument())
        if name in ("angle", "triangle", "measuredangle", "odot"):
            return Symbol(f"{name} {self._next().text}")
        if name.startswith("begin{"):
            return self._environment(name[6:-1])
        if name.startswith("mathbb") and name[6:] in ("R", "Q", "Z", "N", "C"):
            return self._named_set(name[6:])
        raise UnreadableError(f"unknown command {command!r}")

    def _named_set(self, name: str) -> Node:
        suffix = ""
        while self._peek() in ("^", "_"):
            self._position += 1
            braced = self._accept("{")
            suffix += self._next().text
            if braced:
                while not self._accept("}"):
                    suffix += self._next().text
        return NamedSet(name + suffix)

    def _frac_command(self) -> Node:
        if self._peek() == "(":
            numerator, denominator = self._items(")")
            return Quotient(numerator, denominator)
        numerator, denominator = self._argument(), self._argument()
        derivative = _derivative(numerator, denominator)
        if derivative is None:
            return Quotient(numerator, denominator)
        if isinstance(derivative, Symbol):
            return derivative
        order, variable = derivative
        return Standing("derivative", variable, (self._nested(self._term), order))

    def _binom_command(self) -> Node:
        if self._peek() == "(":
            return Call("binom", self._items(")"))
        return Call("binom", (self._argument(), self._argument()))

    def _sqrt_command(self) -> Node:
        index: Node = integer(2)
        if self._accept("["):
            index = self._nested(self._sum)
            self._expect("]")
        if self._peek() == "(":
            return Call("root", (self._nested(self._primary), index))
        return Call("root", (self._argument(), index))

    def _surd_command(self) -> Node:
        """A root sign, or ``sqrt`` in ASCII: it covers a group or a whole number."""
        if self._kind() == "num":
            return Call("root", (_number(self._next()), integer(2)))
        return Call("root", (self._nested(self._primary), integer(2)))

    def _ldots_command(self) -> Node:
        return Dots()

    def _emptyset_command(self) -> Node:
        return SetOf(())

    def _lfloor_command(self) -> Node:
        return self._until("\\rfloor", "floor")

    def _lceil_command(self) -> Node:
        return self._until("\\rceil", "ceil")

    def _until(self, closer: str, function: str) -> Node:
        inner = self._nested(self._sum)
        self._expect(closer)
        return Call(function, (inner,))

    def _log_command(self) -> Node:
        base: Node = Constant("e")
        if self._accept("_"):
            base = self._nested(self._exponent)
        return self._apply_function(lambda argument: Call("log", (argument, base)))

    def _ln_command(self) -> Node:
        return self._apply_function(lambda argument: Call("log", (argument, Constant("e"))))

    def _lg_command(self) -> Node:
        return self._apply_function(lambda argument: Call("log", (argument, integer(10))))

    def _exp_command(self) -> Node:
        return self._apply_function(lambda argument: Power(Constant("e"), argument))

    def _cbrt_command(self) -> Node:
        return self._apply_function(lambda argument: Call("root", (argument, integer(3))))

    def _det_command(self) -> Node:
        return Standing("det", None, (self._nested(self._factor),))

    def _function(self, name: str) -> Node:
        if name in ("max", "min", "gcd", "lcm") and self._peek() in ("(", "\\{"):
            closer = ")" if self._next().text == "(" else "\\}"
            return Call(name, self._items(closer))
        return self._apply_function(lambda argument: Call(name, (argument,)))

    def _apply_function(self, make: Callable[[Node], Node]) -> Node:
        exponent: Node | None = None
        if self._accept("^"):
            exponent = self._nested(self._exponent)
        argument = self._nested(self._function_argument)
        result = make(argument)
        if exponent is None:
            return result
        if exponent == integer(-1) and isinstance(result, Call) and result.function in _INVERSES:
            return Call(_INVERSES[result.function], result.arguments)
        return Power(result, exponent)

    def _function_argument(self) -> Node:
        """What a function without brackets applies to: the product up to the next operator or function."""
        if self._peek() in ("(", "{", "[") and self._kind() == "op":
            opened = self._position
            argument = self._primary()
            if self._tokens[opened].text == "{":
                return self._postfix(argument)
            return argument
        if self._peek() == "-":
            self._position += 1
            return negate(self._function_argument())
        factors = [self._factor()]
        while self._starts_factor() and self._peek()[1:] not in FUNCTIONS and self._peek() not in ("(", "["):
            self._implicit(factors)
        if self._peek() == "/" and self._kind(1) == "num" and self._kind(2) in ("end", "op"):
            self._position += 1
            return Quotient(factors[0] if len(factors) == 1 else Product(tuple(factors)), self._factor())
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _big_operator(self, name: str) -> Node:
        bounds: dict[str, Node] = {}
        while self._peek() in ("_", "^") and self._kind() == "op":
            mark = self._next().text
            if self._accept("{"):
                bounds[mark] = self._nested(self._listing)
                self._expect("}")
            else:
                bounds[mark] = self._nested(self._exponent)
        if name == "int":
            return self._integral(bounds)
        lower = bounds.get("_", Text(""))
        variable = None
        if (
            isinstance(lower, Relation)
            and len(lower.operands) == 2
            and isinstance(lower.operands[0], Symbol | Constant)
        ):
            variable, lower = lower.operands[0].name, lower.operands[1]
        body = self._nested(self._term)
        return Standing(name, variable, (body, lower, bounds.get("^", Text(""))))

    def _integral(self, bounds: dict[str, Node]) -> Node:
        self._integrals += 1
        body: Node = integer(1)
        if self._peek() != "d":
            body = self._nested(self._sum)
        self._integrals -= 1
        variable = None
        if self._accept("d"):
            variable = self._next().text
        return Standing("int", variable, (body, bounds.get("_", Text("")), bounds.get("^", Text(""))))

    def _environment(self, name: str) -> Node:
        if name not in _ENVIRONMENTS:
            raise UnreadableError(f"unknown environment {name!r}")
        rows: list[list[Node]] = [[]]
        end = f"\\end{{{name}}}"
        while not self._accept(end):
            if self._accept("\\\\"):
                rows.append([])
            elif not self._accept("&"):
                rows[-1].append(self._nested(self._listing))
        rows = [row for row in rows if row]
        if not rows:
            raise UnreadableError("an empty environment")
        if name in ("cases", "aligned", "align", "gathered", "split"):
            return Cases(tuple(_case(row) for row in rows))
        if len({len(row) for row in rows}) != 1:
            raise UnreadableError("a matrix with rows of unequal length")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Standing("det", None, (matrix,)) if name == "vmatrix" else matrix


_ENVIRONMENTS = frozenset(
    [
        "matrix",
        "pmatrix",
        "bmatrix",
        "vmatrix",
        "Bmatrix",
        "Vmatrix",
        "smallmatrix",
        "psmallmatrix",
        "array",
        "cases",
        "aligned",
        "align",
        "gathered",
        "split",
    ]
)
_CONSTANT_COMMANDS: dict[str, Node] = {
    "pi": Constant("pi"),
    "infty": Constant("infinity"),
    "circ": Symbol("circ"),
}
_PRIMARY_COMMANDS = frozenset(
    f"\\{name}"
    for name in [
        "pi",
        "infty",
        "frac",
        "binom",
        "sqrt",
        "surd",
        "sum",
        "prod",
        "int",
        "lim",
        "lfloor",
        "lceil",
        "angle",
        "triangle",
        "cbrt",
        "abs",
        "floor",
        "ceil",
        "langle",
        "|",
        "ldots",
        "emptyset",
        "{",
        "mathbbR",
        "mathbbQ",
        "mathbbZ",
        "mathbbN",
        "mathbbC",
    ]
)
_INVERSES = {
    "sin": "arcsin",
    "cos": "arccos",
    "tan": "arctan",
    "cot": "arccot",
    "sinh": "arcsinh",
    "cosh": "arccosh",
}


def _listed(items: list[Node], joiner: str) -> Node:
    return items[0] if len(items) == 1 else Listing(tuple(items), joiner)


def _number(token: Token) -> Number:
    assert token.value is not None
    return Number(token.value, "." in token.text and token.text.replace(".", "").isdigit())


def _special_unit(words: str) -> Number | Constant | None:
    first = words.split()[0] if words else ""
    if words in ("degrees", "degree", "deg", "度"):
        return Constant("degree")
    if words in ("percent", "pct", "per cent"):
        return Constant("percent")
    if first in units.MULTIPLIERS:
        return integer(units.MULTIPLIERS[first])
    return None


def _is_proper(node: Node) -> bool:
    """Whether a node is a fraction of two numerals below 1, so that a number before it makes a mixed number."""
    return (
        isinstance(node, Quotient)
        and isinstance(node.numerator, Number)
        and isinstance(node.denominator, Number)
        and 0 < node.numerator.value < node.denominator.value
        and node.numerator.value.denominator == node.denominator.value.denominator == 1
    )


def _fraction_value(node: Node) -> Fraction:
    assert isinstance(node, Quotient)
    assert isinstance(node.numerator, Number)
    assert isinstance(node.denominator, Number)
    return node.numerator.value / node.denominator.value


def _primed(node: Node) -> Node:
    if isinstance(node, Symbol):
        return Symbol(f"{node.name}'")
    if isinstance(node, Apply):
        return Apply(f"{node.name}'", node.arguments)
    raise UnreadableError("a prime after something that is no name")


def _decorated(name: str, argument: Node) -> Node:
    if isinstance(argument, Symbol):
        return Symbol(f"{name} {argument.name}")
    return Call("conjugate", (argument,)) if name == "bar" else Apply(name, (argument,))


def _derivative(numerator: Node, denominator: Node) -> Symbol | tuple[Node, str] | None:
    """``dy/dx`` as a name, ``d/dx`` as an operator's order and variable, or ``None`` for a plain fraction."""
    if not (
        isinstance(denominator, Product)
        and len(denominator.factors) == 2
        and denominator.factors[0] in (Symbol("d"), Symbol("partial"))
    ):
        return None
    below = denominator.factors[1]
    if isinstance(below, Power) and isinstance(below.base, Symbol):
        below = below.base
    if not isinstance(below, Symbol):
        return None
    mark = denominator.factors[0]
    if numerator == mark:
        return integer(1), below.name
    if isinstance(numerator, Power) and numerator.base == mark:
        return numerator.exponent, below.name
    if isinstance(numerator, Product) and len(numerator.factors) == 2:
        head, tail = numerator.factors
        if isinstance(tail, Symbol) and (head == mark or (isinstance(head, Power) and head.base == mark)):
            order = "" if head == mark else "^n"
            return Symbol(f"d{order}{tail.name}/d{below.name}")
    return None


def _case(row: list[Node]) -> Node:
    if len(row) == 1:
        return row[0]
    value, condition = row[0], row[-1]
    if len(row) == 2:
        if isinstance(value, Listing) and len(value.items) == 1:
            value = value.items[0]
        return Conditional(value, None if condition == Text("otherwise") else condition)
    raise UnreadableError("a case with more than two columns")
