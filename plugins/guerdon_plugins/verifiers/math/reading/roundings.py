r"""The floor in square brackets, as schools write it: ``[x]`` against ``\lfloor x \rfloor`` on the other side."""

from __future__ import annotations

import re

_FLOOR = re.compile(r"\\lfloor(?![a-z])|\\floor(?![a-z])|⌊")
_BRACKETS = re.compile(r"(?:\\left\s*|(?<![\\a-z]))\[([^\[\],;]*?)(?:\\right\s*)?\]")


def has_floor(text: str) -> bool:
    """Return whether a floor has its own sign in a text."""
    return "⌊" in text or ("floor" in text and _FLOOR.search(text) is not None)


def with_floors(text: str) -> str:
    """Return the text with square brackets around one value as floors."""
    return _BRACKETS.sub(lambda match: f"\\lfloor {match[1]} \\rfloor ", text) if "[" in text else text
