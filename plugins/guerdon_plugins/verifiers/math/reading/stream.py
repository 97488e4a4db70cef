"""Reading tokens one after the other, with a bound on nesting."""

from __future__ import annotations

from collections.abc import Callable

from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.nodes import Node
from guerdon_plugins.verifiers.math.reading.tokens import Token

MAX_DEPTH = 40
"""Levels of nesting; a level takes several of Python's stack frames."""


class TokenStream:
    """A position in a list of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

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
