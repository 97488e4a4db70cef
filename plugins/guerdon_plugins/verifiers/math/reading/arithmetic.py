"""The grammar of expressions: sums, products, powers, brackets, and the primaries inside them."""

from __future__ import annotations

from fractions import Fraction
from string import ascii_uppercase

from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    Call,
    Cases,
    Constant,
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
    Sum,
    Symbol,
    Text,
    Unit,
    negate,
)
from guerdon_plugins.verifiers.math.reading.ordered import ORDERED, joined, ordered_product, reversed_product
from guerdon_plugins.verifiers.math.reading.stream import TokenStream
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import BIG_OPERATORS, DECORATIONS, FUNCTIONS, SYMBOLS

_TIMES = frozenset(("\\cdot", "\\times"))
_DIVIDE = frozenset(("/", "\\div"))
_AFTER_INTERVAL = frozenset(("\\cup", "\\cap", "\\setminus", ",", ")", "}"))
_ORDINAL_ENDINGS = ("th", "st", "nd", "rd")
_MODULO = frozenset(("mod", "\\mod", "\\bmod"))
_OPENING_COMMANDS = frozenset(
    f"\\{name}"
    for name in (
        *BIG_OPERATORS,
        *(
            "pi",
            "infty",
            "frac",
            "binom",
            "sqrt",
            "surd",
            "lfloor",
            "lceil",
            "langle",
        ),
        *("angle", "triangle", "cbrt", "abs", "floor", "ceil", "|", "ldots", "emptyset", "{"),
        *(f"mathbb{letter}" for letter in ascii_uppercase),
    )
)
"""Commands that can start a factor, in addition to functions, symbols and environments."""


class ArithmeticParser(TokenStream):
    """Reads expressions. What commands mean, and lists in brackets, are read by subclasses."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._bars = 0
        """Open absolute values: a bar closes the innermost one."""
        self._integrals = 0
        """Open integrals: a ``d`` before a letter ends the integrand."""
        self._congruences = 0
        """Congruences that are read: a modulus belongs to them."""
        self._no_ratio = 0
        """Open braces: a colon separates an element from its condition."""

    def _listing(self) -> Node:
        raise NotImplementedError

    def _command(self, name: str) -> Node:
        raise NotImplementedError

    def _primary(self) -> Node:
        raise NotImplementedError

    def _subscript(self, node: Symbol | Number | Constant) -> Node:
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
                factor = self._signed_factor()
                if text == "\\times" and _is_arrow(factor) and _is_arrow(factors[-1]):
                    factors[-1] = Apply("cross", (factors[-1], factor))
                else:
                    factors.append(factor)
            elif text in _DIVIDE:
                if self._kind(1) == "text":
                    break
                self._position += 1
                numerator = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [Quotient(numerator, self._signed_factor())]
            elif text == "\\bmod" and not self._congruences and self._starts_factor(1):
                self._position += 1
                left = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [Call("mod", (left, self._factor()))]
            elif text in ORDERED and self._starts_factor(1):
                self._position += 1
                left = factors[0] if len(factors) == 1 else Product(tuple(factors))
                factors = [joined(ORDERED[text], left, self._operand_after_sign())]
            elif self._starts_factor() and not isinstance(factors[-1], Cases):
                self._implicit(factors)
            else:
                break
        if len(factors) > 1:
            factors = [factor for factor in factors if factor != Text("")] or [Text("")]
        if len(factors) == 1:
            return factors[0]
        if any(isinstance(factor, Text) for factor in factors):
            raise UnreadableError("words among factors")
        return ordered_product(factors) or Product(tuple(factors))

    def _operand_after_sign(self) -> Node:
        """Return the second operand of an ordered operation, which may be a product."""
        factors = [self._factor()]
        while self._starts_factor():
            self._implicit(factors)
        return factors[0] if len(factors) == 1 else ordered_product(factors) or Product(tuple(factors))

    def _signed_factor(self) -> Node:
        sign = 1
        while self._peek() in ("-", "+") and self._kind() == "op":
            sign = -sign if self._next().text == "-" else sign
        return self._factor() if sign > 0 else negate(self._factor())

    def _implicit(self, factors: list[Node]) -> None:
        """Return a factor without an operator: a mixed number, or a product."""
        last = factors[-1]
        if (mixed := self._mixed_number(last)) is not None:
            factors[-1] = mixed
            return
        if self._kind() == "num" and self._tokens[self._position - 1].kind == "num":
            raise UnreadableError("two numbers side by side")
        factor = self._factor()
        braced = self._tokens[self._position - 1].text == "}"
        if braced and isinstance(factor, Number) and isinstance(last, Number):
            raise UnreadableError("two numbers side by side")
        if not (isinstance(factor, Relation) and factor.operators == ("∈",)):  # k pi (k in Z): a remark
            factors.append(factor)

    def _mixed_number(self, whole: Node) -> Node | None:
        """Return a whole numeral and the proper fraction after it, with the percent or degree sign of both."""
        if not isinstance(whole, Number) or whole.decimal or whole.value.denominator != 1:
            return None
        start = self._position
        if self._tokens[start - 1].kind != "num":
            return None
        if self._peek() == "\\frac" or (self._peek() == "{" and self._peek(1) == "\\frac"):
            fraction = self._nested(self._primary)
        elif self._kind() == "num" and self._peek(1) == "/" and self._kind(2) == "num":
            numerator, _, denominator = self._next(), self._next(), self._next()
            fraction = Quotient(number(numerator), number(denominator))
        else:
            return None
        raised = self._peek() == "^" and "\\circ" not in (self._peek(1), self._peek(2))
        if raised or not _is_proper(fraction):
            self._position = start
            return None
        return self._with_marks(Number(whole.value + _fraction_value(fraction)))

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
        if text == "\\|":
            return kind == "cmd" and not self._bars
        return kind == "cmd" and (
            text[1:] in FUNCTIONS
            or text[1:] in SYMBOLS
            or text in _OPENING_COMMANDS
            or text[1:] in DECORATIONS
            or text.startswith("\\begin")
        )

    def _factor(self) -> Node:
        return self._with_marks(self._nested(self._primary))

    def _with_marks(self, node: Node) -> Node:
        """Return the node with what is written after it: factorials, percent and degree signs, indices, a power."""
        result = self._postfix(node)
        if self._accept("^"):
            result = self._postfix(self._power(result))
        return result

    def _power(self, base: Node) -> Node:
        if self._accept_braced("\\circ"):
            return self._degrees(base)
        if self._accept_braced("\\prime") or self._accept_braced("'"):
            return _primed(base)
        if any(self._accept_braced(ending, words=True) for ending in _ORDINAL_ENDINGS):
            return base
        if self._kind() == "text" or (self._peek() == "{" and self._kind(1) == "text"):
            raise UnreadableError("words in an exponent")
        if (sign := self._side()) is not None:
            return Apply(f"side {sign}", (base,))
        if self._peek() in ("\\top", "T") and isinstance(base, Matrix | Sequence):
            self._position += 1
            return Call("transpose", (base,))
        if not isinstance(base, Number) and self._accept_braced("\\cdot"):
            exponent: Node = Symbol("star")
        elif self._accept_braced("\\top"):
            exponent = Symbol("T")
        else:
            self._part_name()
            exponent = self._nested(self._exponent)
        if self._accept("^"):
            exponent = self._nested(lambda: self._power(exponent))
        return reversed_product(base, exponent) or Power(base, exponent)

    def _part_name(self) -> None:
        r"""Part letters in a row after ``^``, which takes the first one: ``A^TB`` is ``A^T B``."""
        if self._kind() == "name":
            letters = [Token("let", letter) for letter in self._peek()]
            self._tokens[self._position : self._position + 1] = letters

    def _side(self) -> str | None:
        """Return the sign in ``0^+``, the side from which a limit is taken; it has no operand."""
        for sign in ("+", "-"):
            if self._accept_braced(sign) if self._peek() == "{" else self._ends_with(sign):
                return sign
        return None

    def _ends_with(self, sign: str) -> bool:
        found = self._peek() == sign and self._peek(1) in ("", "}")
        self._position += found
        return found

    def _accept_braced(self, text: str, *, words: bool = False) -> bool:
        """Take a token, or a group of it alone."""
        braced = self._peek() == "{"
        if self._peek(braced) != text or (braced and self._peek(2) != "}"):
            return False
        if self._kind(braced) == "text" and not words:
            return False
        self._position += 3 if braced else 1
        return True

    def _degrees(self, base: Node) -> Node:
        scale = {"C": "celsius", "F": "fahrenheit"}.get(self._peek(), "")
        if scale and self._kind() in ("let", "text"):
            self._position += 1
            return Quantity(base, Unit(((scale, 1),)))
        return Product((self._with_arc_minutes(base), Constant("degree")))

    def _with_arc_minutes(self, degrees: Node) -> Node:
        r"""Read ``60^\circ 30' 15''`` in degrees."""
        parts = [degrees]
        for scale, primes in ((60, 1), (3600, 2)):
            if self._kind() == "num" and (length := self._primes(1, primes)):
                value = number(self._next())
                self._position += length
                parts.append(Number(value.value / scale))
        if len(parts) == 1 or not isinstance(degrees, Number):
            return degrees if len(parts) == 1 else Sum(tuple(parts))
        return Number(sum((part.value for part in parts if isinstance(part, Number)), Fraction(0)))

    def _primes(self, ahead: int, count: int) -> int:
        """How many tokens exactly ``count`` prime signs take, from a place ahead; 0 if they are not there."""
        place, braced = ahead, 0
        if self._peek(place) == "^":
            place += 1
            if self._peek(place) == "{":
                place, braced = place + 1, 1
        found = 0
        while self._peek(place) in ("'", "\\prime"):
            place, found = place + 1, found + 1
        if found != count or (braced and self._peek(place) != "}"):
            return 0
        return place + braced - ahead

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


def _is_arrow(node: Node) -> bool:
    """Whether a node is a letter under an arrow, or the cross product of such letters."""
    return (isinstance(node, Symbol) and node.name.startswith("vec ")) or (
        isinstance(node, Apply) and node.name in ("cross", "vec")
    )


def number(token: Token) -> Number:
    assert token.value is not None
    return Number(token.value, "." in token.text and set(token.text) <= set("0123456789.eE+-"))


def _is_proper(node: Node) -> bool:
    """Return whether a node is a fraction of two numerals below 1, so that a number before it makes a mixed number."""
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
    raise UnreadableError("a prime after something that is not a name")
