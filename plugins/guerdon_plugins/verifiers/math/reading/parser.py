"""The grammar: from tokens to the typed tree, by recursive descent.

``listing`` > ``clause`` > ``relation`` > ``operand`` (ratios, set operations, units) > ``sum`` > ``term`` >
``power`` > ``primary``. Every loop and every level of nesting is bounded.
"""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Call,
    Cases,
    Conditional,
    Congruence,
    Listing,
    NamedSet,
    Node,
    Number,
    PlusMinus,
    Quantity,
    Quotient,
    Relation,
    Symbol,
    Text,
    children,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.reading.cleaning import clean
from guerdon_plugins.verifiers.math.reading.dimensions import read_dimensions
from guerdon_plugins.verifiers.math.reading.extremes import read_extremes
from guerdon_plugins.verifiers.math.reading.named_objects import split_named_object
from guerdon_plugins.verifiers.math.reading.parts import question_parts
from guerdon_plugins.verifiers.math.reading.permutations import permuted, without_permutations
from guerdon_plugins.verifiers.math.reading.prose import (
    answer_tokens,
    with_exceptions,
    with_labels,
    with_named_values,
    with_titles,
)
from guerdon_plugins.verifiers.math.reading.relations import RelationParser, contains_letter
from guerdon_plugins.verifiers.math.reading.spans import read_span
from guerdon_plugins.verifiers.math.reading.special import read_special
from guerdon_plugins.verifiers.math.reading.tokens import tokenize
from guerdon_plugins.verifiers.math.reading.vocabulary import (
    CONDITION_WORDS,
    CONSEQUENCE_WORDS,
    HYPOTHESES,
    JOINING_WORDS,
    ORDER,
    OTHERWISE,
)
from guerdon_plugins.verifiers.math.reading.word_relations import (
    all_of,
    parity_of_all,
    quantified,
)

_CLOSERS = frozenset((")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "&", "\\\\"))
_SEPARATORS = {",": ",", ";": ";", "\\lor": "or", "\\cup": "or", "\\land": "and", "\\cap": "and"}
_PLAIN_NUMERAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
"""Most answers: they need no grammar."""
_PLAIN_FRACTION = re.compile(r"(-?)(?:([0-9]{1,40}) ?)?\\[dt]?frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
"""The next most common answers: a fraction of two numerals, or a mixed number."""
_EXTREME = re.compile(r"(?i)\b(?:max|min|saddle|inflection)")
_WORD = re.compile(r"[^\W\d_]")


def parse(text: str) -> Node:
    """Read one answer, as in a box or in a data set's column.

    Raises:
        UnreadableError: It is not an answer that this grammar knows.
        TooLargeError: It is too long or nested too deeply.
    """
    if match := _PLAIN_NUMERAL.fullmatch(text):
        return Number(Fraction(text), match[1] is not None)
    if (fraction := _plain_fraction(text)) is not None:
        return fraction
    cleaned = clean(text)
    if not cleaned:
        raise UnreadableError("it is empty")
    if (parts := question_parts(cleaned)) is not None:
        try:
            return Listing(
                tuple(Relation((Symbol(f"part {name}"), parse(part)), ("=",)) for name, part in parts), ","
            )
        except UnreadableError:
            pass  # the marks are not those of parts
    if special := read_special(cleaned):
        return special
    if ("permutation" in cleaned or not cleaned.isascii()) and (said := without_permutations(cleaned)):
        points = permuted(parse(said[0]), said[1])
        if points is not None:
            return points
    if ("m" in cleaned and _EXTREME.search(cleaned)) and (extremes := read_extremes(cleaned, parse)):
        return extremes
    if "pan" in cleaned and (span := read_span(cleaned, parse)):
        return span
    if ("by" in cleaned or "\\text" in cleaned) and (dimensions := read_dimensions(cleaned, parse)):
        return dimensions
    tokens = with_named_values(with_titles(tokenize(cleaned)))
    if not tokens:
        raise UnreadableError("it is empty")
    words = [token.text for token in tokens] if any(token.kind == "text" for token in tokens) else []
    try:
        return _Parser(
            with_labels(with_exceptions(answer_tokens(tokens))) if words else answer_tokens(tokens)
        ).document()
    except TooLargeError:
        raise
    except UnreadableError:
        if ("=" in cleaned or "\\" in cleaned) and (named := split_named_object(cleaned)):
            return Relation((Text(named[0]), parse(named[1])), ("=",))
        if any(token.kind == "text" and _WORD.search(token.text) for token in tokens):
            return Text(" ".join(_without_single_braces(words)))
        raise


def _without_single_braces(words: list[str]) -> list[str]:
    r"""Return the words without braces around one of them: ``\pmod{4}`` is ``\pmod 4``."""
    kept: list[str] = []
    for word in words:
        kept.append(word)
        if word == "}" and kept[-3:-2] == ["{"]:
            kept[-3:] = [kept[-2]]
    return kept


def _plain_fraction(text: str) -> Node | None:
    match = _PLAIN_FRACTION.fullmatch(text)
    if match is None:
        return None
    sign, whole, above, below = match.groups()
    if whole is None:
        node: Node = Quotient(Number(Fraction(int(above))), Number(Fraction(int(below))))
    elif 0 < int(above) < int(below):
        node = Number(int(whole) + Fraction(int(above), int(below)))
    else:
        return None
    return negate(node) if sign else node


class _Parser(RelationParser):
    def document(self) -> Node:
        result = self._listing()
        if self._position < len(self._tokens):
            raise UnreadableError(f"cannot read on at {self._peek()!r}")
        return result

    def _listing(self) -> Node:
        groups: list[list[Node]] = [[]]
        alternatives: list[list[Node]] = [[]]
        joiner = ","
        while True:
            clause = self._clause()
            # "all integers n > 2" says two things of n
            said = clause.items if isinstance(clause, Listing) and clause.joiner == "," else (clause,)
            groups[-1].extend(said)
            alternatives[-1].extend(said)
            found = self._separators()
            if "or" in found:
                alternatives.append([])
            if ";" in found:
                groups.append([])
            for word in ("or", "and"):
                joiner = word if word in found else joiner
            if not found and isinstance(groups[-1][-1], Cases) and self._peek().startswith("\\begin"):
                continue  # one system after the other
            if not found or self._at_end():
                break
        if _are_solutions(alternatives):
            return Listing(tuple(_listed(group, ",") for group in alternatives), "or")
        groups = [with_one_bound(with_one_sign(with_one_modulus(group))) for group in groups if group]
        if len(groups) > 1 and any(len(group) > 1 for group in groups):
            return Listing(tuple(_listed(group, ",") for group in groups), ",")
        items = [item for group in groups for item in group]
        if len(groups) == len(items) > 1 and joiner == "," and all(map(_is_value, items)):
            joiner = ";"
        return self._over(_listed(items, joiner))

    def _over(self, above: Node) -> Node:
        r"""Read ``1 \over 2`` and ``n \choose k``: TeX divides all of the group around them."""
        if self._accept("\\over"):
            return Quotient(above, self._nested(self._listing))
        return Call("binom", (above, self._nested(self._listing))) if self._accept("\\choose") else above

    def _separators(self) -> list[str]:
        found: list[str] = []
        while True:
            text = self._peek()
            if self._kind() == "text" and text in JOINING_WORDS:
                found.append(JOINING_WORDS[text])
            elif self._kind() != "text" and text in _SEPARATORS:
                found.append(_SEPARATORS[text])
            else:
                return found
            self._position += 1

    def _at_end(self) -> bool:
        text = self._peek()
        return self._kind() == "end" or (
            self._kind() != "text" and (text in _CLOSERS or text == "." or text.startswith("\\end{"))
        )

    def _clause(self) -> Node:
        if self._kind() == "text" and (word := self._peek().lower().strip(" ,")) in CONDITION_WORDS:
            self._position += 1
            return self._condition_first(word)
        if (parity := self._of_parity()) is not None:
            return parity
        if (every := self._every()) is not None:
            return every
        result = self._relation()
        if self._kind() == "text" and (system := quantified(self._peek())) is not None:
            self._position += 1
            return self._for_all(result, system)
        if (parity := self._of_parity()) is not None:
            return Conditional(result, parity)
        if self._accept_word(CONSEQUENCE_WORDS):  # x = 1 时, y = 2
            return self._consequence(result)
        if self._accept_word(OTHERWISE):
            return Conditional(result, None)
        if self._accept_word(CONDITION_WORDS):
            return Conditional(result, self._condition())
        if (
            self._peek() == "on"
            and self._kind() == "text"
            and self._peek(1) in ("(", "[")
            and isinstance(result, SCALARS)
        ):
            return self._on_interval(result)
        return result

    def _on_interval(self, result: Node) -> Node:
        r"""Read ``\min(x, 1-x) on [0, 1]`` as a value under a condition."""
        letters = {item.name for item in _descendants(result) if isinstance(item, Symbol)}
        if len(letters) != 1:
            raise UnreadableError("an interval of several letters")
        self._position += 1
        return Conditional(result, Relation((Symbol(letters.pop()), self._quantity()), ("∈",)))

    def _for_all(self, result: Node, system: str) -> Node:
        """``2n+1 for all n``, which says nothing of ``n``, and "for all integers n", which does."""
        condition = self._condition()
        if isinstance(condition, Symbol):
            member = Relation((condition, NamedSet(system)), ("∈",))
            return Conditional(result, member) if system else result
        if system:
            raise UnreadableError("a number system and a condition")
        return Conditional(result, condition)

    def _every(self) -> Node | None:
        """``all x > 2``, ``all integers n``, ``all odd n``: what is said of a letter, without "all"."""
        if self._kind() != "text" or self._kind(1) not in ("let", "num"):
            return None
        system, remainder = all_of(self._peek()), parity_of_all(self._peek())
        if system is None and remainder is None:
            return None
        self._position += 1
        said = self._relation()
        if remainder is not None:
            return _of_remainder(said, remainder)
        if isinstance(said, Symbol) and system:
            return Relation((said, NamedSet(system)), ("∈",))
        if not isinstance(said, Relation | Congruence):
            raise UnreadableError("all of nothing")
        if not system:
            return said
        letter = said.left if isinstance(said, Congruence) else next(filter(_is_letter, said.operands), None)
        if letter is None:
            raise UnreadableError("all of no letter")
        return Listing((said, Relation((letter, NamedSet(system)), ("∈",))), ",")

    def _condition(self) -> Node:
        self._accept("&")
        self._conditions += 1
        condition = self._relation()
        self._conditions -= 1
        return condition

    def _condition_first(self, word: str) -> Node:
        """Return a condition, and what holds under it if that follows; in a table's column it is alone."""
        condition = self._condition()
        if self._accept_word(CONSEQUENCE_WORDS):
            return self._consequence(condition)
        if not self._depth and (word in HYPOTHESES or isinstance(condition, Symbol)):
            raise UnreadableError("a condition without what holds under it")
        return condition

    def _consequence(self, condition: Node) -> Node:
        while self._accept(","):
            pass
        return condition if self._at_end() else Conditional(self._relation(), condition)

    def _accept_word(self, words: frozenset[str] | set[str]) -> bool:
        if self._kind() != "text" or self._peek().lower().strip(" ,") not in words:
            return False
        self._position += 1
        return True


def _are_solutions(alternatives: list[list[Node]]) -> bool:
    """Whether "or" separates solutions of one system: ``x = 3, y = 4 or x = 4, y = 3``."""
    names = []
    for group in alternatives:
        for item in group:
            if not isinstance(item, Relation) or set(item.operators) != {"="}:
                return False
        names.append([item.operands[0] for item in group if isinstance(item, Relation)])
    return len(names) > 1 and len(names[0]) > 1 and all(found == names[0] for found in names)


def _of_remainder(said: Node, remainder: int) -> Node:
    """Return what "all odd n ≥ 3" says: a remainder by 2, and the inequality if there is one."""
    if not isinstance(said, Relation):
        return Congruence(said, integer(remainder), integer(2))
    letter = next(filter(_is_letter, said.operands), said)
    return Listing((said, Congruence(letter, integer(remainder), integer(2))), ",")


def _is_value(node: Node) -> bool:
    return isinstance(node, (*SCALARS, Quantity)) and not any(
        isinstance(item, PlusMinus) for item in (node, *children(node))
    )


def _descendants(node: Node) -> list[Node]:
    return [node, *(item for child in children(node) for item in _descendants(child))]


def _is_letter(node: Node) -> bool:
    return isinstance(node, Symbol)


def with_one_modulus(items: list[Node]) -> list[Node]:
    """Read ``x ≡ 1, 4 (mod 5)`` as two congruences: the last modulus is that of all."""
    match items:
        case [
            Relation(operands=(left, first), operators=("≡" | "=",)),
            *between,
            Congruence(Text(""), last, modulus),
        ]:
            if all(isinstance(item, SCALARS) for item in between):
                return [Congruence(left, right, modulus) for right in (first, *between, last)]
    return items


def with_one_sign(items: list[Node]) -> list[Node]:
    """Read ``x ≠ 1, 4`` as two relations: the sign is that of all."""
    match items:
        case [Relation(operands=(left, _), operators=("≠",)) as first, *rest] if rest:
            if all(isinstance(item, SCALARS) and not contains_letter(item) for item in rest):
                return [first, *(Relation((left, item), ("≠",)) for item in rest)]
    return items


def with_one_bound(items: list[Node]) -> list[Node]:
    """Read ``a, b > 0`` as two relations: the bound is that of all letters before it."""
    result: list[Node] = []
    for item in items:
        match item:
            case Relation(operands=(Symbol() as letter, Number() as bound), operators=(sign,)) if (
                sign in ORDER
            ):
                place = len(result)
                while place and isinstance(result[place - 1], Symbol) and result[place - 1] != letter:
                    place -= 1
                    result[place] = Relation((result[place], bound), (sign,))
        result.append(item)
    return result


def _listed(items: list[Node], joiner: str) -> Node:
    return items[0] if len(items) == 1 else Listing(tuple(items), joiner)
