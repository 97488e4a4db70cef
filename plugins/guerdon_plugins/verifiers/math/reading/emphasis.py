"""Sentences whose answer markdown sets in bold, such as ``The day is **Tuesday**``."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading import units

__all__ = ["in_bold", "is_doubted"]

_LONGEST = 600
_BOLD = re.compile(
    r"(?:(?<=[\s(\"'“:：])|(?<=[^\x00-\x7f])|^)\*\*(?=\S)((?:(?!\*\*).)+)(?<=\S)\*\*(?![\w*])", re.DOTALL
)
_HEADING = re.compile(r"\*\*[^*]{1,40}[:：]\s*\*\*|\*\*[^*]{1,40}\*\*\s*[:：]")
_DOUBT = re.compile(
    r"\b(?:not|cannot|no|never|or|nor|either|neither|if|unless|than|almost|half|twice|double|wrong|incorrect|false|instead|"
    r"except|minus|negative|per|times|plus)\b|n't\b|不(?!等式|定积分|动点)|非|没|或|错|若",
    re.IGNORECASE,
)
"""Words before the bold answer with which the sentence says something else of it."""
_JOINED = re.compile(r"[\d})$][^\w]*(?:,|;|\band\b|\bor\b|和|或|、)[\s$\\(]*$")
"""A first answer before the bold one."""
_TURNS = re.compile(
    r"\b(?:not|but|or|unless|except|however|if|instead|wrong|incorrect|and|than|more|less|fewer)\b|或|不|但",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"[^\S\n]*(?:(?:in total|altogether|in all|overall|conditions?|as required|respectively|条件|象限|$)[.。!]*)?",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.;。；]\s|[,，](?!\d)")


def in_bold(text: str) -> str:
    """Return the one answer in bold of a sentence; the text as it is where the sentence says more of it."""
    if len(text) > _LONGEST:
        return text
    text = _HEADING.sub("", text).strip()
    spans = list(_BOLD.finditer(text))
    if len(spans) != 1:
        return text
    (span,) = spans
    before, after = text[: span.start()], text[span.end() :]
    clause = _CLAUSE_END.split(before)[-1]
    if is_doubted(clause) or _JOINED.search(before):
        return text
    if _HARMLESS.fullmatch(after):
        return span[1]
    if after[:1] in ",.;:，。；：" or after[:2] == " (":
        return text if _TURNS.search(after) else span[1]
    unit = after.strip().rstrip(".。")
    return f"{span[1]} {unit}" if units.read_unit(unit) is not None else text


def is_doubted(words: str) -> bool:
    """Return whether the words before an answer deny it, or say that it is one of several or a part of a value."""
    return _DOUBT.search(words) is not None
