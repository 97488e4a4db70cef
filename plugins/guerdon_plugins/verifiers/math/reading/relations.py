"""The grammar of relations: chains of signs, congruences, ratios and set operations, and what words say of a letter."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Congruence,
    Constant,
    Listing,
    NamedSet,
    Node,
    Power,
    Ratio,
    Relation,
    SetOperation,
    Symbol,
    Text,
    children,
    integer,
)
from guerdon_plugins.verifiers.math.reading.quantities import QuantityParser
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import ORDER, RELATIONS, SET_OPERATIONS
from guerdon_plugins.verifiers.math.reading.word_relations import (
    comparison,
    divisibility,
    is_power,
    membership,
    or_more,
    parity,
    parity_before,
    sign,
)

_NUMBER_SYSTEMS = frozenset("NZQRC")
"""After a sign of membership these letters are number systems in plain type too."""


def _with_eccentricity(operands: list[Node], operators: list[str]) -> list[Node]:
    """Read the ``e`` of ``1 < e < 2`` as a letter: what lies between bounds is not Euler's number."""
    inside = operators == ["∈"] or (len(operands) == 3 and ORDER.issuperset(operators))
    place = len(operators) - 1
    if not inside or operands[place] != Constant("e"):
        return operands
    return [*operands[:place], Symbol("e"), *operands[place + 1 :]]


def _is_function(node: Node) -> bool:
    return isinstance(node, Apply) or node in (Symbol("f"), Symbol("g"), Symbol("h"))


class RelationParser(QuantityParser):
    """Reads a relation between values, in signs or in words."""

    def _relation(self) -> Node:
        if (bound := self._bound()) is not None:
            return bound
        operands = [self._operand()]
        if self._kind() == "text" and (said := self._said_of(operands[0])) is not None:
            return said
        operators: list[str] = []
        # In x < 1 \cup x > 2 the sign joins the relations, not the 1 and the x.
        # In the rows of an environment a mark for alignment may come before or after the sign.
        while self._kind() != "text" and (operator := RELATIONS.get(self._peek(self._peek() == "&"))):
            self._position += 1 + (self._peek() == "&")
            self._accept("&")
            operators.append(operator)
            self._congruences += operator == "≡"
            if operator == "∈" and (system := self._number_system()) is not None:
                operands.append(system)
                continue
            operands.append(self._quantity() if operator in ORDER else self._operand())
        self._congruences -= operators.count("≡")
        modulus = self._modulus()
        if modulus is not None:
            if len(operands) == 1:
                return Congruence(Text(""), operands[0], modulus)
            if operators in (["≡"], ["="]):
                return Congruence(operands[0], operands[1], modulus)
            raise UnreadableError("a modulus after something that is not a congruence")
        if operators == ["≡"] and _is_function(operands[0]):  # f(x) \\equiv 0
            operators = ["="]
        operands = _with_eccentricity(operands, operators)
        return Relation(tuple(operands), tuple(operators)) if operators else operands[0]

    def _number_system(self) -> Node | None:
        """Read the letter of a number system in plain type, which may be in braces."""
        if self._peek() == "{" and self._peek(1) in _NUMBER_SYSTEMS and self._peek(2) == "}":
            self._position += 3
            return NamedSet(self._peek(-2))
        if self._kind() == "let" and self._peek() in _NUMBER_SYSTEMS:
            return self._named_set(self._next().text)
        return None

    def _bound(self) -> Relation | None:
        r"""Read ``\ge 5`` and "at least 5", which leave out of what they speak."""
        if self._kind() == "text":
            operator, length = comparison(self._peek(), (self._peek(1), self._peek(2))) or ("", 0)
        else:
            operator, length = RELATIONS.get(self._peek(), ""), 1
        if operator not in ORDER or self._depth or self._conditions:
            return None
        self._position += length
        return Relation((Symbol("x"), self._quantity()), (operator,))

    def _of_parity(self) -> Congruence | None:
        """``for even n`` as a condition."""
        if self._kind() != "text" or self._kind(1) != "let":
            return None
        remainder = parity_before(self._peek())
        if remainder is None:
            return None
        self._position += 1
        return Congruence(self._operand(), integer(remainder), integer(2))

    def _said_of(self, subject: Node) -> Node | None:
        """Return what words say of an expression with a letter, as in ``x is at least 2``; of a number, "or more"."""
        if self._peek() == "or" and (operator := or_more(self._peek(1))):
            self._position += 2
            return Relation((Symbol("x"), subject), (operator,))
        if not isinstance(subject, SCALARS) or not contains_letter(subject):
            return None
        if isinstance(subject, Symbol) and (system := membership(self._peek())):
            self._take_words()
            return Relation((subject, NamedSet(system)), ("∈",))
        if isinstance(subject, Symbol) and is_power(self._peek()):
            self._position += 1
            exponent = Symbol("k" if subject.name != "k" else "m")
            power = Relation((subject, Power(self._quantity(), exponent)), ("=",))
            return Listing((power, Relation((exponent, NamedSet("N")), ("∈",))), ",")
        if (remainder := parity(self._peek())) is not None:
            self._take_words()
            return Congruence(subject, integer(remainder), integer(2))
        if (operator := sign(self._peek())) is not None:
            self._position += 1
            return Relation((subject, integer(0)), (operator,))
        if (operator := divisibility(self._peek())) is not None:
            self._position += 1
            return Relation((self._quantity(), subject), (operator,))
        found = comparison(self._peek(), (self._peek(1), self._peek(2)))
        if found is None:
            return None
        operator, length = found
        self._position += length
        return Relation((subject, self._quantity()), (operator,))

    def _take_words(self) -> None:
        """Take a text; a comma at its end separates, as one outside of it does."""
        token = self._next()
        if token.text.rstrip().endswith((",", ";")):
            self._tokens.insert(self._position, Token("op", token.text.rstrip()[-1]))

    def _modulus(self) -> Node | None:
        if self._accept("\\pmod"):
            return self._argument()
        if self._accept("\\mod"):
            return self._argument() if self._peek() == "{" else self._sum()
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
        if (span := self._to(parts[0])) is not None:
            return span
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


def contains_letter(node: Node) -> bool:
    """Whether a variable is in an expression."""
    return isinstance(node, Symbol) or any(map(contains_letter, children(node)))
