"""Numerals with their exact values: integers, decimals, powers of ten and repeating decimals."""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon_plugins.verifiers.math.errors import TooLargeError

MAX_EXPONENT = 10_000

_NUMERAL = re.compile(r"([0-9]*)(?:\.([0-9]+)|(?<=[0-9])\.(?=[/*^]))?(?:[eE]([+-]?\d{1,9})(?![\d.]))?")
_FRACTION_PART = re.compile(r"\.(?:[0-9]|\s*\\(?:overline|bar|dot)\s*\{?\s*[0-9]+\s*\}?)")
_OVERLINED = re.compile(r"(\d*)\.(\d*)\s*\\(?:overline|bar)\s*(?:\{\s*(\d+)\s*\}|(\d))")
_DOTTED = re.compile(r"(\d*)\.(\d*)\s*\\dot\s*\{?(\d)\}?(?:(\d*)\s*\\dot\s*\{?(\d)\}?)?")
_PARENTHESISED = re.compile(r"(\d+)\.()\((\d+)\)(?!\s*[\dA-Za-z(\\^])")
_CONTINUED = re.compile(r"(\d*)\.(\d{0,12}?)(\d{1,12}?)\3{2,}\s*(?:\\[lc]?dots|\.\.\.)")


def starts_numeral(text: str, position: int) -> bool:
    """Return whether a numeral starts at a position."""
    character = text[position]
    return "0" <= character <= "9" or (character == "." and bool(_FRACTION_PART.match(text, position)))


def read_numeral(text: str, position: int) -> tuple[str, Fraction, int] | None:
    """Return the numeral at a position, its value, and where it ends; ``None`` for a point that starts no numeral.

    Raises:
        TooLargeError: The exponent of a power of ten is too large.
    """
    if "\\" in text or "(" in text or "..." in text:
        for pattern in (_OVERLINED, _DOTTED, _PARENTHESISED, _CONTINUED):
            if match := pattern.match(text, position):
                return match[0], _repeating(pattern, match), match.end()
    match = _NUMERAL.match(text, position)
    if not match or not match[0]:
        return None
    whole, decimals, exponent = match.groups()
    value = Fraction(to_int(whole + (decimals or "")))
    if decimals:
        value /= 10 ** len(decimals)
    if exponent:
        if abs(int(exponent)) > MAX_EXPONENT:
            raise TooLargeError(f"the exponent of {match[0][:40]} is too large")
        value *= Fraction(10) ** int(exponent)
    return match[0], value, match.end()


def _repeating(pattern: re.Pattern[str], match: re.Match[str]) -> Fraction:
    groups = match.groups()
    whole, fixed = groups[0] or "0", groups[1]
    if pattern is _OVERLINED:
        period = groups[2] or groups[3]
    elif pattern is _DOTTED:
        period = groups[2] + (groups[3] or "") + (groups[4] or "")
    else:
        period = groups[2]
    scale = 10 ** len(fixed)
    value = Fraction(to_int(whole + fixed), scale)
    return value + Fraction(to_int(period), scale * (10 ** len(period) - 1))


def to_int(digits: str) -> int:
    """``int`` without Python's limit of 4,300 digits; the length of an answer is bounded."""
    if len(digits) <= 4000:
        return int(digits or "0")
    rest = digits[4000:]
    scale: int = 10 ** len(rest)
    return int(digits[:4000]) * scale + to_int(rest)
