"""The grammar of expressions: sums, products, powers, brackets, and what stands for a number by itself."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    BaseNumeral,
    Call,
    Constant,
    Listing,
    Matrix,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    Sum,
    Symbol,
    Text,
    Unit,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.stream import TokenStream
from guerdon_plugins.verifiers.math.tokens import Token, TooLargeError, UnreadableError, to_int
from guerdon_plugins.verifiers.math.vocabulary import DECORATIONS, FUNCTIONS, NUMBER_WORDS, SYMBOLS

_TIMES = frozenset(("\\cdot", "\\times"))
_DIVIDE = frozenset(("/", "\\div"))
_AFTER_INTERVAL = frozenset(("\\cup", "\\cap", "\\setminus", ",", ")", "}"))
_MODULO = frozenset(("mod", "\\mod", "\\bmod"))
_OPENING_COMMANDS = frozenset(
    f"\\{name}"
    for name in (
        *(
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
            "langle",
        ),
        *("angle", "triangle", "cbrt", "abs", "floor", "ceil", "|", "ldots", "emptyset", "{"),
        *("mathbbR", "mathbbQ", "mathbbZ", "mathbbN", "mathbbC"),
    )
)
"""Commands that can start a factor, beside functions, symbols and environments."""


class ArithmeticParser(TokenStream):
    """Reads expressions. What commands mean, and lists in brackets, are read by subclasses."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._bars = 0
        """Open absolute values: a bar closes the innermost one."""
        self._integrals = 0
        """Open integrals: a ``d`` before a letter ends the integrand."""
        self._no_ratio = 0
        """Open braces: a colon separates an element from its condition."""

    def _listing(self) -> Node:
        raise NotImplementedError

    def _command(self, name: str) -> Node:
        raise NotImplementedError

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
        if len(factors) == 1:
            return factors[0]
        if any(isinstance(factor, Text) for factor in factors):
            raise UnreadableError("words among factors")
        return Product(tuple(factors))

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
        factor = self._factor()
        if (
            isinstance(factor, Number)
            and isinstance(last, Number)
            and self._tokens[self._position - 1].text == "}"
        ):
            raise UnreadableError("two numbers side by side")
        if not (isinstance(factor, Relation) and factor.operators == ("∈",)):  # k pi (k in Z): a remark
            factors.append(factor)

    def _starts_factor(self, ahead: int = 0) -> bool:
        kind, text = self._kind(ahead), self._peek(ahead)
        if kind in ("num", "let", "name"):
            return not (text == "d" and self._integrals and self._kind(ahead + 1) in ("let", "cmd"))
        if kind == "op":
            if text == "|":
                return not self._bars
            if text == "(":
                return self._peek(ahead + 1) not in _MODULO
            if text == "[":  # not the end of [0, 1[
                return self._kind(ahead + 1) != "end" and self._peek(ahead + 1) not in _AFTER_INTERVAL
            return text == "{"
        return kind == "cmd" and (
            text[1:] in FUNCTIONS
            or text[1:] in SYMBOLS
            or text in _OPENING_COMMANDS
            or text[1:] in DECORATIONS
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
            return number(self._next())
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

    def _primary(self) -> Node:
        token = self._next()
        text = token.text
        if token.kind == "num":
            return number(token)
        if token.kind == "let":
            return self._letter(text)
        if token.kind == "name":
            return Symbol(text)
        if token.kind == "text":
            return self._words(text)
        if text == "{":
            result = self._nested(self._listing) if self._peek() != "}" else Text("")
            if self._accept("\\choose"):
                result = Call("binom", (result, self._nested(self._listing)))
            elif self._accept("\\over"):
                result = Quotient(result, self._nested(self._listing))
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
            return self._command(text[1:])
        raise UnreadableError(f"cannot read {text!r}")

    def _letter(self, letter: str) -> Node:
        if letter in ("e", "i"):
            return Constant(letter)
        primes = 0
        while letter in "fgh" and self._peek(primes) == "'":
            primes += 1
        if self._peek(primes) == "(" and (letter in "fgh" or self._defines_function()):
            self._position += primes + 1
            return Apply(letter + "'" * primes, self._items(")"))
        return Symbol(letter)

    def _defines_function(self) -> bool:
        """Whether a letter and brackets stand alone on the left of an equation: ``p(x) = …``."""
        if self._position > 1 and self._peek(-2) not in (",", ";"):
            return False
        ahead = 1
        while (ahead < 6 and self._kind(ahead) in ("let", "num")) or self._peek(ahead) == ",":
            ahead += 1
        return self._peek(ahead) == ")" and self._peek(ahead + 1) == "="

    def _words(self, words: str) -> Node:
        lowered = words.lower().strip(" .")
        if lowered in NUMBER_WORDS:
            return integer(NUMBER_WORDS[lowered])
        if words in ("e", "i"):
            return Constant(words)
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
            rest = Token("num", token.text[1:], value=Fraction(to_int(token.text[1:])))
            self._tokens.insert(self._position, rest)
            return integer(int(token.text[0]))
        self._position -= 1
        return self._nested(self._primary)


def number(token: Token) -> Number:
    assert token.value is not None
    return Number(token.value, "." in token.text and set(token.text) <= set("0123456789.eE+-"))


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
