r"""Options of a multiple choice: ``B``, ``\text{(B)}``, with what they say (``(B) 12``, ``B. 12``), and several."""

from __future__ import annotations

import re

_WRAPPED = r"(?:\\(?:text|textbf|mathrm|mathbf|textrm)\s*\{)?\s*"
_GAP = r"\s*\}?(?:\\[ ~,;:]|\\quad|\s|~)*"
_NAMED = r"(?:故|所以|因此)?(?:[Oo]ption|[Cc]hoice|选项|选)?\s*"
_ALONE = re.compile(rf"(?:\\text\{{)?{_NAMED}\(?([A-Z])\)?(?:选项)?\}}?")
_BRACKETED = re.compile(rf"{_WRAPPED}\(([A-Z])\){_GAP}")
_MARKED = re.compile(rf"{_WRAPPED}{_NAMED}(?:\(([A-Z])\)|([A-Z])[).:．、：]){_GAP}")
_ANOTHER = re.compile(
    r"\(\s*[A-Za-e]\s*\)|(?<![A-Za-z\\])[A-Z]\s*(?:[).:,;/]|\W*$)|\b(?:or|and)\W+[A-Z](?![A-Za-z])"
)
"""What names a second option, after the first: an answer with both is a guess."""
_WITH_TEXT = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf|textrm)\s*\{\s*\(([A-J])\)\s*\}(?:\\[ ~,;:]|\\quad|\s|~)*(\S.*)"
    r"|\(([A-J])\)(?:\\[ ~,;:]|\\quad|\s|~)+(\S.*)"
    r"|([A-J])(?:\)|[.:．：](?=\s|\\[ ~,;:]))\s*(?:\\[ ~,;:]|~)*(\S.*)"
    r"|\\text(?:bf)?\{\s*\(([A-J])\)\s+([^{}]*)\}",
    re.DOTALL,
)
_LIST = re.compile(
    r"(?:\\(?:text|mathrm|textbf)\s*\{)?\(?[A-H]\)?"
    r"(?:(?:[\s,，、;；/&]|\\[ ,;]|\\text\s*\{|\band\b|和|与|\})+\(?[A-H]\)?)+\}?"
)
_RUN = re.compile(r"(?:\\(?:text|mathrm|textbf)\s*\{)?([A-H]{2,6})\}?")


def plain_option(text: str) -> str | None:
    r"""Return the letter of an answer that is an option anywhere; ``(B) 12`` may be a product, so it is not one."""
    if match := _ALONE.fullmatch(text):
        return match[1]
    match = _BRACKETED.match(text)
    if match is None:
        return None
    rest = text[match.end() :]
    return match[1] if not rest or (text.startswith("\\") and not _ANOTHER.search(rest)) else None


def marked_option(text: str) -> str | None:
    """Return the letter of an answer to a question whose reference is an option: a bracket or a point marks it."""
    match = _MARKED.match(text)
    if match is None or _ANOTHER.search(text, match.end()):
        return None
    return match[1] or match[2]


def option_with_text(text: str) -> tuple[str, str] | None:
    """Return the letter and the text of an option that has both: ``B. 12`` is ``B`` and ``12``."""
    match = _WITH_TEXT.fullmatch(text.strip())
    if match is None:
        return None
    letter, said = match[1] or match[3] or match[5] or match[7], match[2] or match[4] or match[6] or match[8]
    if _ANOTHER.search(said) or (text.strip()[1:2] in ":：" and re.search("[:：]", said)):
        return None
    return letter, said.strip()


def same_options(reference: str, answer: str) -> bool | None:
    """Return whether two texts choose the same options, one of them as a list; ``None`` if they are something else."""
    sides = [_several(text) for text in (reference, answer)]
    if sides[0] is None or sides[1] is None or not any(_LIST.fullmatch(text) for text in (reference, answer)):
        return None
    return sides[0] == sides[1]


def _several(text: str) -> frozenset[str] | None:
    if match := _RUN.fullmatch(text):
        letters = match[1]
        return frozenset(letters) if list(letters) == sorted(set(letters)) else None
    return frozenset(re.findall(r"(?<![A-Za-z])[A-H](?![A-Za-z])", text)) if _LIST.fullmatch(text) else None
