"""The grammar of primaries: names with indices, brackets, sets, words, TeX arguments."""

from __future__ import annotations

from fractions import Fraction

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    BaseNumeral,
    Call,
    Cases,
    Constant,
    Listing,
    Matrix,
    Node,
    Number,
    Quotient,
    Sequence,
    SetBuilder,
    SetOf,
    Standing,
    Sum,
    Symbol,
    Text,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.reading.arithmetic import ArithmeticParser, number
from guerdon_plugins.verifiers.math.reading.number_words import NUMBER_WORDS
from guerdon_plugins.verifiers.math.reading.numerals import to_int
from guerdon_plugins.verifiers.math.reading.ordered import EXPECTATIONS, MATRICES, expectation
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import GREEK

_CLOSERS = {
    "(": (")", "]", "["),
    "[": ("]", ")", "["),
    "]": ("[", "]"),
    "\\langle": ("\\rangle", ">"),
}
_OPENING = frozenset(("(", "[", "{", "\\{"))
_CLOSING = frozenset((")", "]", "}", "\\}"))
_BARS = frozenset(("|", "\\mid"))
_ONE_LETTER_FUNCTIONS = "fgh"
_TRANSPOSED = frozenset(("T", "\\top", "\\dagger", "\\cdot"))
_RANDOM = frozenset("XYZ")
"""Letters of random variables: ``E(R+r)`` is a product."""
_PLAIN_KINDS = frozenset(("let", "num", "name", "text"))


class PrimaryParser(ArithmeticParser):
    """Reads one operand without a sign, and TeX arguments."""

    def _primary(self) -> Node:
        token = self._next()
        text = token.text
        if token.kind == "num":
            return number(token)
        if token.kind == "let":
            return self._letter(text)
        if token.kind == "name":
            return self._name(text)
        if token.kind == "text":
            return self._name_with_arguments(text) or self._expectation(text) or _words(text)
        if text == "{":
            return self._group()
        if text in _CLOSERS:  # "]" opens ]0, 1[ as in France
            return self._bracketed(text)
        if text == "\\{":
            return self._set()
        if text == "|":
            return self._between_bars("|", "abs")
        if text == "\\|":
            return self._between_bars("\\|", "norm")
        if text in ("_", "^") and token.kind == "op":
            return self._prescript()
        if token.kind == "cmd":
            return self._command(text[1:])
        raise UnreadableError(f"cannot read {text!r}")

    def _group(self) -> Node:
        result = self._nested(self._listing) if self._peek() != "}" else Text("")
        self._expect("}")
        if result == Text(""):
            if self._peek() in ("_", "^") and self._kind() == "op":
                self._position += 1
                return self._prescript()
            if self._starts_factor():
                return self._factor()
        return result

    def _argument(self) -> Node:
        """Return a TeX argument: a group, or one token, of a numeral one digit."""
        if self._accept("{"):
            inner = self._nested(self._listing)
            self._expect("}")
            return inner
        token = self._next()
        if token.kind == "num" and len(token.text) > 1 and token.text.isdigit():
            first, rest = (
                Token("num", digits, value=Fraction(to_int(digits)))
                for digits in (token.text[0], token.text[1:])
            )
            self._tokens[self._position - 1 : self._position] = [first, rest]
            return number(first)
        self._position -= 1
        return self._nested(self._primary)

    # Names

    def _letter(self, letter: str) -> Node:
        if letter.isupper() and (name := self._name_with_arguments(letter)):
            return name
        if letter == "E" and (moment := self._expectation(letter)):
            return moment
        if letter == "P" and self._peek() == "(" and (name := self._conditional_probability()):
            return name
        if letter in ("e", "i"):
            return Constant(letter)
        primes = 0
        while letter in _ONE_LETTER_FUNCTIONS and self._peek(primes) == "'":
            primes += 1
        if self._peek(primes) == "(" and (
            letter in _ONE_LETTER_FUNCTIONS or self._has_argument_zero() or self._defines_function()
        ):
            self._position += primes + 1
            return Apply(letter + "'" * primes, self._items(")"))
        return Symbol(letter)

    def _name(self, name: str) -> Node:
        r"""Return letters in a row: one name, but ``PDP^{-1}`` and ``AB^T`` invert and transpose the last one only."""
        if self._peek() != "^":
            return Symbol(name)
        place = 1 + (self._peek(1) == "{")
        inverted = self._peek(place) == "-" and self._peek(place + 1) == "1" and MATRICES.issuperset(name)
        if not inverted and self._peek(place) not in _TRANSPOSED:
            return Symbol(name)
        self._tokens[self._position : self._position] = [Token("let", letter) for letter in name[1:]]
        return Symbol(name[0])

    def _expectation(self, name: str) -> Node | None:
        r"""Read ``E[X^2]`` and ``\operatorname{Var}(X)``, which apply to random variables; ``None`` for a product."""
        if name not in EXPECTATIONS or self._peek() not in ("(", "["):
            return None
        opener, place, depth = self._peek(), self._position, 0
        letters: set[str] = set()
        while place < len(self._tokens):
            text = self._tokens[place].text
            depth += (text in _OPENING) - (text in _CLOSING)
            letters.update(filter(str.isupper, text if text.isalpha() else ""))
            if not depth:
                break
            place += 1
        if not letters or (name == "E" and opener == "(" and not letters <= _RANDOM):
            return None
        self._position += 1
        return expectation(name, self._items(")" if opener == "(" else "]"))

    def _has_argument_zero(self) -> bool:
        """Return whether ``(0)`` comes next: a product with zero is never written, so ``I(0)`` is a value of I."""
        return self._peek(1) == "0" and self._peek(2) == ")"

    def _defines_function(self) -> bool:
        """Return whether a letter and brackets are alone on the left of an equation: ``p(x) = …``."""
        if not self._starts_clause():
            return False
        ahead = 1
        while (ahead < 6 and self._is_argument(ahead)) or self._peek(ahead) == ",":
            ahead += 1
        return self._peek(ahead) == ")" and self._peek(ahead + 1) == "="

    def _is_argument(self, ahead: int) -> bool:
        return self._kind(ahead) in ("let", "num") or self._peek(ahead)[1:] in GREEK

    def _starts_clause(self) -> bool:
        """Return whether the letter just read is the first of its clause."""
        return self._position <= 1 or self._peek(-2) in (",", ";", "and", "or")

    def _name_with_arguments(self, head: str) -> Symbol | None:
        r"""Read ``P(A \cap B)`` or ``E[X]`` on the left of an equation, as one name."""
        if self._peek() not in ("(", "[") or not head[0].isalpha() or not self._starts_clause():
            return None
        depth, place = 0, self._position
        while place < len(self._tokens) and place - self._position < 40:
            text = self._tokens[place].text
            depth += (text in _OPENING) - (text in _CLOSING)
            place += 1
            if not depth:
                break
        inside = self._tokens[self._position + 1 : place - 1]
        plain = all(token.kind in _PLAIN_KINDS or token.text == "," for token in inside)
        is_last = place < len(self._tokens) and self._tokens[place].text in ("=", "\\approx")
        if depth or not is_last or (plain and len(head) == 1 and self._peek() == "("):
            return None
        self._position = place
        return Symbol(f"{head}({''.join('|' if token.text in _BARS else token.text for token in inside)})")

    def _conditional_probability(self) -> Symbol | None:
        r"""Read ``P(A \mid B)`` as one name wherever it is."""
        place = self._position + 1
        while place < len(self._tokens) and self._tokens[place].text not in _OPENING | _CLOSING:
            place += 1
        inside = [token.text for token in self._tokens[self._position + 1 : place]]
        if (
            place >= len(self._tokens)
            or self._tokens[place].text != ")"
            or len(_BARS.intersection(inside)) != 1
        ):
            return None
        self._position = place + 1
        return Symbol(f"P({''.join('|' if text in _BARS else text for text in inside)})")

    def _subscript(self, node: Symbol | Number | Constant) -> Node:
        if isinstance(node, Number):
            return self._numeral_in_base(node)
        name = f"{node.name}_{self._flat_subscript()}" if self._has_flat_subscript() else ""
        if not name:
            self._expect("{")
            index = self._nested(self._listing)
            self._expect("}")
            return Apply(f"{node.name}_", (index,))
        return self._combination(node.name, name) or Symbol(name)

    def _numeral_in_base(self, node: Number) -> BaseNumeral:
        base = self._nested(self._exponent)
        digits = str(node.value.numerator) if node.value.numerator < 10**300 else ""
        if not isinstance(base, Number) or not 2 <= base.value <= 36 or node.value.denominator != 1:
            raise UnreadableError("a subscript that is not a base")
        radix = int(base.value)
        if not digits or any(int(digit) >= radix for digit in digits):
            raise UnreadableError(f"a digit that base {radix} does not have")
        return BaseNumeral(digits, radix)

    def _has_flat_subscript(self) -> bool:
        """Return whether a subscript is a word or a sign rather than an expression."""
        if self._peek() != "{":
            return True
        index = self._position + 1
        if self._kind(1) == "text":
            return True
        while index < len(self._tokens) and (
            self._tokens[index].kind in _PLAIN_KINDS or _is_sign(self._tokens[index])
        ):
            index += 1
        return index < len(self._tokens) and self._tokens[index].text == "}"

    def _flat_subscript(self) -> str:
        if not self._accept("{"):
            return self._next().text
        text = ""
        while not self._accept("}"):
            text += self._next().text
        return text

    # Combinations and permutations

    def _combination(self, letter: str, name: str) -> Node | None:
        """Read ``C_{10}^{3}`` and ``A_5^2`` with their values; ``None`` for a name with a power."""
        below = name[len(letter) + 1 :]
        if letter not in ("C", "A", "P") or self._peek() != "^":
            return None
        if letter == "C" and below == "n":
            self._position += 1
            return _choices(letter, Symbol(below), self._nested(self._exponent))
        if not below.isdigit():
            return None
        start = self._position
        self._position += 1
        above = self._nested(self._exponent)
        count = integer(to_int(below))
        if isinstance(above, Number) and 0 <= above.value <= count.value and above.value.denominator == 1:
            return _choices(letter, count, above)
        self._position = start
        return None

    def _prescript(self) -> Node:
        """Read ``{}_5C_2`` and ``^5C_2``: the number to choose from comes before the letter."""
        count = self._nested(self._exponent)
        letter = self._next().text
        if letter not in ("C", "P", "A") or not self._accept("_"):
            raise UnreadableError("an index before something that is not a combination")
        return _choices(letter, count, self._nested(self._exponent))

    # Brackets

    def _items(self, closer: str) -> tuple[Node, ...]:
        """Return the comma-separated items up to a closing token, which is taken."""
        inner = self._nested(self._listing)
        self._expect(closer)
        return inner.items if isinstance(inner, Listing) else (inner,)

    def _bracketed(self, left: str) -> Node:
        bars, self._bars = self._bars, 0
        ratio, self._no_ratio = self._no_ratio, 0
        inner = self._nested(self._listing)
        self._bars, self._no_ratio = bars, ratio
        closer = self._next().text
        if closer not in _CLOSERS[left]:
            raise UnreadableError(f"{left!r} is closed by {closer!r}")
        if isinstance(inner, Listing):
            if left == "[":  # a continued fraction [0; 1, 2], or the rows of a matrix [1, 2; 3, 4]
                inner = Listing(tuple(_row(item) for item in inner.items), inner.joiner)
            left = "(" if left == "]" else left
            closer = ")" if closer == "[" else closer
            if len(inner.items) != 2 and (left, closer) in (("[", ")"), ("(", "]")):
                raise UnreadableError("brackets that do not match around a list")
            return Sequence(inner.items, left.strip("\\"), closer.strip("\\"))
        if left == "\\langle":  # what one element generates
            return Sequence((inner,), "langle", "rangle")
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
        if isinstance(inner, Cases) and self._peek() != "\\}":
            return inner  # the brace of a system, which closes nowhere
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
        if function == "abs" and isinstance(inner, Matrix) and len(inner.rows) == len(inner.rows[0]) > 1:
            return Standing("det", None, (inner,))
        if function == "norm" and self._accept("_"):
            index = self._argument()
            return Call("norm", (inner,)) if index == integer(2) else Apply("norm", (inner, index))
        return Call(function, (inner,))


def _row(item: Node) -> Node:
    return Sequence(item.items, "(", ")") if isinstance(item, Listing) else item


def _is_sign(token: Token) -> bool:
    r"""Return whether a token in a subscript is a part of a name: ``\max``, ``\parallel``, a sign, a comma."""
    if token.kind == "cmd":
        return token.text[1:].isalpha() and token.text not in ("\\frac", "\\sqrt", "\\cdot", "\\times")
    return token.text in (",", "'", "|")


def _choices(letter: str, count: Node, chosen: Node) -> Node:
    if letter == "C":
        return Call("binom", (count, chosen))
    rest = Sum((count, negate(chosen)))
    return Quotient(Call("factorial", (count,)), Call("factorial", (rest,)))


def _words(words: str) -> Node:
    lowered = words.lower().strip(" .")
    if lowered in NUMBER_WORDS:
        return integer(NUMBER_WORDS[lowered])
    if words in ("e", "i"):
        return Constant(words)
    return Text(words)
