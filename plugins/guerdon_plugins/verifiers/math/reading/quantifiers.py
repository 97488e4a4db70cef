r"""Statements about all or some numbers: ``there exists x ∈ R such that …`` as ``\exists x ∈ R, …``."""

from __future__ import annotations

import re

__all__ = ["in_signs"]

_LONGEST = 400
_WRAPPED = re.compile(r"\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"(?:\\[ ,;:!]|\\q?quad(?![a-z])|~|\s)+")
_SOME = (
    r"there (?:exists?|is|are)(?: an?| some| at least one)?|for (?:some|at least one)|存在(?:一个)?|"
    r"\\exists(?![a-z])|∃"
)
_ALL = r"for (?:all|every|each|any)|(?:对于?)?(?:任意|所有|任何|一切)的?|\\forall(?![a-z])|∀"
_REALS = r"real numbers?|reals?|实数"
_MEMBER = r"(?:\\in(?![a-z])|∈|in(?![a-z]))\s*(?P<set>[^,;:=<>]+?)"
_SEPARATOR = (
    r"(?:,? ?such that|,? ?so that|,? ?with|,? ?satisfying|,? ?s\.t\.|,? ?it holds that|,? ?we have|[,:] ?有|"
    r"[,:] ?(?:使得?|都有|均有|恒有|满足)|使得?|都有|均有|恒有|,|:)"
)
_STATEMENT = re.compile(
    rf"(?:(?P<some>{_SOME})|(?:{_ALL})) ?(?P<real>{_REALS})? ?(?P<letter>[a-z])(?:_(?:0|\{{0\}}))? ?(?:{_MEMBER})? ?"
    rf"{_SEPARATOR} ?(?P<body>.+?) ?(?:恒?成立)?\.?",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[=<>≤≥≠]|\\(?:leq?|geq?|neq?|leqslant|geqslant|in)(?![a-z])")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}|[\u4e00-\u9fff]|\\(?:exists|forall|neg)(?![a-z])|[∃∀¬]")
_NUMBERS = {"r": "\\mathbb{R}", "\\mathbb{r}": "\\mathbb{R}", "\\mathbbr": "\\mathbb{R}", "ℝ": "\\mathbb{R}"}


def in_signs(text: str) -> str | None:
    r"""Return a statement about one letter as ``\exists x \in \mathbb{R}, …``; ``None`` for any other text.

    A text that denies something, or that says more in words, is none.
    """
    if len(text) > _LONGEST:
        return None
    plain = _WRAPPED.sub(r" \1 ", text.replace("$", " ")).replace("，", ",").replace("：", ":")
    plain = _SPACES.sub(" ", plain.replace("\\mathrm R", "R")).strip(" .。")
    match = _STATEMENT.fullmatch(plain)
    if match is None or _WORD.search(match["body"]) or not _SIGN.search(match["body"]):
        return None
    members = (match["set"] or ("R" if match["real"] else "")).strip()
    if not members or _WORD.search(members.replace("\\mathbb", "")):
        return None
    members = _NUMBERS.get(members.replace(" ", "").lower(), members)
    letter, body = match["letter"], match["body"]
    body = re.sub(rf"(?<![\\a-zA-Z]){letter}_(?:0|\{{0\}})", letter, body)
    sign = "\\exists" if match["some"] else "\\forall"
    return f"{sign} {letter} \\in {members}, {body}"
