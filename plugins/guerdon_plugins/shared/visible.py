"""Tell visible text from invisible characters."""

from __future__ import annotations

import unicodedata

__all__ = ["readable", "without_invisible"]

_BLANKS = frozenset(
    "\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters, symbols and marks by category that are invisible: fillers, joiners and selectors of variants."""


def readable(text: str) -> bool:
    """Return whether there is a letter, a digit or a symbol: more than spaces, punctuation and invisible characters."""
    return any(unicodedata.category(char)[0] in "LNS" and char not in _BLANKS for char in text)


def without_invisible(text: str) -> str:
    """Return a text without characters that have no shape and no width, such as a zero-width space."""
    if text.isascii():
        return text
    return "".join(char for char in text if unicodedata.category(char) != "Cf" and char not in _BLANKS)
