r"""Formulas of sets and of propositions, such as ``(A \cap B)^c`` and ``p \land \neg q``, as truth tables."""

from __future__ import annotations

import re
from collections.abc import Callable

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import Proposition

_MAX_LETTERS = 6
_MAX_CHARACTERS = 400
_TOKEN = re.compile(
    r"(?P<space>(?:\s|\\[,;: !]|~|\\left(?![a-z])|\\right(?![a-z]))+)"
    r"|(?P<and>\\(?:cap|land|wedge)(?![a-z]))|(?P<or>\\(?:cup|lor|vee)(?![a-z]))|(?P<minus>\\setminus(?![a-z]))"
    r"|(?P<if>\\(?:to|rightarrow|Rightarrow|implies|Longrightarrow)(?![a-z])|→|⇒)"
    r"|(?P<iff>\\(?:leftrightarrow|Leftrightarrow|iff|Longleftrightarrow)(?![a-z])|↔|⇔)"
    r"|(?P<not>\\(?:neg|lnot)(?![a-z])|\\complement(?:_\{?[A-Z]\}?)?|∁(?:_\{?[A-Z]\}?)?|C_\{?[UISR]\}?)"
    r"|(?P<bar>\\(?:overline|bar)\s*\{)|(?P<open>\(|\\\{|\{)|(?P<close>\)|\\\}|\})"
    r"|(?P<after>\^\s*(?:\{\s*(?:c|C|\\complement|\\prime)\s*\}|c|C|\\complement|\\prime)|')|(?P<letter>[A-Za-z])"
)
_CONNECTIVE = re.compile(
    r"\\(?:cap|cup|land|lor|wedge|vee|setminus|to|[rR]ightarrow|[lL]eftrightarrow|Long(?:left)?rightarrow|implies|iff)(?![a-z])|[→⇒↔⇔]"
)

_Table = Callable[[int], bool]


def read_proposition(text: str) -> Proposition | None:
    """Return the truth table of a formula that is made of letters and connectives only; ``None`` for other text."""
    if "\\" not in text or len(text) > _MAX_CHARACTERS or not _CONNECTIVE.search(text):
        return None
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            return None
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match[0]))
        position = match.end()
    letters = sorted({word for kind, word in tokens if kind == "letter"})
    if not 0 < len(letters) <= _MAX_LETTERS or len({letter.isupper() for letter in letters}) > 1:
        return None
    try:
        table = _Formula(tokens, letters).table()
    except (UnreadableError, RecursionError):
        return None
    values = tuple(table(row) for row in range(1 << len(letters)))
    return Proposition(tuple(letters), values)


class _Formula:
    def __init__(self, tokens: list[tuple[str, str]], letters: list[str]) -> None:
        self._tokens = tokens
        self._letters = letters
        self._position = 0

    def table(self) -> _Table:
        result = self._implied()
        if self._position < len(self._tokens):
            raise UnreadableError("something after the formula")
        return result

    def _kind(self) -> str:
        return self._tokens[self._position][0] if self._position < len(self._tokens) else "end"

    def _implied(self) -> _Table:
        """Two formulas with an arrow between them, which binds less than other connectives."""
        left = self._joined()
        arrow = self._kind()
        if arrow not in ("if", "iff"):
            return left
        self._position += 1
        return _combined(arrow, left, self._joined())

    def _joined(self) -> _Table:
        """Operands under one connective; brackets are needed around another."""
        result = self._operand()
        connective = self._kind()
        while self._kind() in ("and", "or", "minus"):
            if self._kind() != connective:
                raise UnreadableError("two connectives without brackets")
            self._position += 1
            result = _combined(connective, result, self._operand())
        return result

    def _operand(self) -> _Table:
        kind, word = self._tokens[self._position] if self._kind() != "end" else ("end", "")
        self._position += 1
        if kind == "not":
            return _negated(self._operand())
        if kind in ("open", "bar"):
            inner = self._implied()
            if self._kind() != "close":
                raise UnreadableError("a bracket that does not close")
            self._position += 1
            inner = _negated(inner) if kind == "bar" else inner
        elif kind == "letter":
            inner = _value_of(self._letters.index(word))
        else:
            raise UnreadableError("no operand")
        while self._kind() == "after":
            self._position += 1
            inner = _negated(inner)
        return inner


def _value_of(place: int) -> _Table:
    return lambda row: bool(row >> place & 1)


def _negated(table: _Table) -> _Table:
    return lambda row: not table(row)


def _combined(connective: str, left: _Table, right: _Table) -> _Table:
    match connective:
        case "and":
            return lambda row: left(row) and right(row)
        case "or":
            return lambda row: left(row) or right(row)
        case "if":
            return lambda row: not left(row) or right(row)
        case "iff":
            return lambda row: left(row) == right(row)
    return lambda row: left(row) and not right(row)
