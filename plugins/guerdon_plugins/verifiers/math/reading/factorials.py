"""``5!=120``: a factorial and its value; ``x != 3`` says that two sides are not equal."""

from __future__ import annotations

import re

__all__ = ["with_factorials_apart"]

_FACTORIAL = re.compile(
    r"(?:^|(?<=[=,;:]))"
    r"((?:[-+*/^(){}\d.!]|\\(?:[dt]?frac|[dt]?binom|cdot|times|div|left|right)(?![a-zA-Z])|\s)*[\d)}])!=(?=\s*[-\d\\(])"
)
"""Numbers alone before the sign: that two numbers are not equal answers nothing."""


def with_factorials_apart(text: str) -> str:
    """Return a text with the factorial of a number apart from the equals sign that follows it."""
    return _FACTORIAL.sub(r"\1! =", text)
