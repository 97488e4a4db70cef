r"""Options of a multiple choice: ``B``, ``\\text{(B)}``, and with what they say, ``(B) 12``, ``B. 12``."""

from __future__ import annotations

import re

_WRAPPED = r"(?:\\(?:text|textbf|mathrm|mathbf|textrm)\s*\{)?\s*"
_GAP = r"\s*\}?(?:\\[ ~,;:]|\\quad|\s|~)*"
_ALONE = re.compile(r"(?:\\text\{)?(?:[Oo]ption|[Cc]hoice)?\s*\(?([A-Z])\)?\}?")
_BRACKETED = re.compile(rf"{_WRAPPED}\(([A-Z])\){_GAP}")
_MARKED = re.compile(rf"{_WRAPPED}(?:[Oo]ption|[Cc]hoice)?\s*(?:\(([A-Z])\)|([A-Z])[).:]){_GAP}")
_ANOTHER = re.compile(
    r"\(\s*[A-Za-e]\s*\)|(?<![A-Za-z\\])[A-Z]\s*(?:[).:,;/]|\W*$)|\b(?:or|and)\W+[A-Z](?![A-Za-z])"
)
"""What names a second option, after the first: an answer with both is a guess."""


def plain_option(text: str) -> str | None:
    r"""The letter of an answer that is an option wherever it stands; ``(B) 12`` may be a product, so it is not one."""
    if match := _ALONE.fullmatch(text):
        return match[1]
    match = _BRACKETED.match(text)
    if match is None:
        return None
    rest = text[match.end() :]
    return match[1] if not rest or (text.startswith("\\") and not _ANOTHER.search(rest)) else None


def marked_option(text: str) -> str | None:
    """The letter of an answer to a question whose reference is an option: a bracket or a point marks it."""
    match = _MARKED.match(text)
    if match is None or _ANOTHER.search(text, match.end()):
        return None
    return match[1] or match[2]
