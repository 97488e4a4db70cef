r"""The answer on the lines under a heading such as ``### Final answer``: a display, a list, formulas or one line."""

from __future__ import annotations

import re

__all__ = ["under_heading"]

_LONGEST = 2000
_DISPLAY = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_BETWEEN_DISPLAYS = re.compile(r"[\s,;.]*(?:(?:and|or|和|或)[\s,]*)?")
_ITEM = re.compile(r"(?:[-+*•]|\d{1,2}[.)](?=\s+[$\\*]))\s+(\S.*)")
"""An item of a list. Markdown takes a hyphen with a space after it at the start of a line for the mark of an item."""
_PART = re.compile(r"\(?(?:[a-h]|[1-9]|i{1,3}|iv|v)\)\s+\S.*")
_FORMULA = re.compile(r"(?:\$[^$]+\$|\\\((?:(?!\\\)).)+\\\)|-?\d[\d.,/]*)[.,;]?")
_MARKDOWN = "*_` \t\r"
_ENDS = " \t.,;"


def under_heading(text: str) -> str:
    """Return the answer at the start of a text, which comes right after the heading.

    Several displays, items of a list, parts ``(a)``, ``(b)`` or formulas on lines of their own are one answer.
    """
    text = text[:_LONGEST].lstrip()
    displays = _displays(text)
    if displays:
        return ", ".join(displays)
    lines = [line.strip() for line in text.split("\n")]
    items = _first_of(_ITEM, [line for line in lines if line])
    if items:
        return _joined([item[1].strip(_MARKDOWN) for item in items])
    parts = _first_of(_PART, [line for line in lines if line])
    if len(parts) > 1:
        return " ".join(part[0] for part in parts)
    formulas = _first_of(_FORMULA, [line for line in (line.strip(_MARKDOWN) for line in lines) if line])
    return _joined([formula[0] for formula in formulas]) if formulas else lines[0].strip(_MARKDOWN)


def _displays(text: str) -> list[str]:
    """Return the displays that a text starts with, of which only punctuation or a conjunction separates each two."""
    found: list[str] = []
    position = 0
    while match := _DISPLAY.match(text, position):
        found.append((match[1] or match[2]).strip())
        between = _BETWEEN_DISPLAYS.match(text, match.end())
        position = between.end() if between else match.end()
    return found


def _first_of(pattern: re.Pattern[str], lines: list[str]) -> list[re.Match[str]]:
    """Return the matches of the first lines, up to one that is something else."""
    found = []
    for line in lines:
        match = pattern.fullmatch(line)
        if match is None:
            break
        found.append(match)
    return found


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(part.rstrip(_ENDS) for part in parts)
