"""Vector letters in bold, as they are written in print, and under an arrow, as they are written by hand."""

from __future__ import annotations

import re

_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm|pmb)\s*(?:\{\s*([a-z])\s*\}|([a-z])(?![a-z]))")
_ARROW = re.compile(rf"\\(?:vec|overrightarrow)(?![a-zA-Z])|{_BOLD.pattern}\s*\\times\s*{_BOLD.pattern}")


def has_arrows(text: str) -> bool:
    """Whether a letter is under an arrow, or letters in bold are multiplied as vectors."""
    return "\\" in text and _ARROW.search(text) is not None


def with_arrows(text: str) -> str:
    """Return the text with small bold letters under arrows."""
    return _BOLD.sub(lambda match: f"\\vec{{{match[1] or match[2]}}}", text)
