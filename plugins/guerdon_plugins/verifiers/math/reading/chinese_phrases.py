"""Chinese phrases for extremes as labels, and Chinese words out of their groups."""

from __future__ import annotations

import re

__all__ = ["with_plain_phrases"]

_EXTREME_VALUE = re.compile(r"(?:取得|取到|取|有)(?=[极最][大小]值[-\d\\$])([极最][大小]值)")
_EXTREME_OF_LETTER = re.compile(
    r"(?:函数)?(?<![\\a-zA-Z])([a-zA-Z])(?:\([a-z]\))?\s*的?最([大小])值\s*(?:[为是]|等于|=)\s*(?=[-\d\\$])"
)
_EXTREME_INDEX = re.compile(
    r"(?<![\\a-zA-Z])([a-zA-Z])(?:\([a-z]\))?_\s*\{?\s*(?:\\text\s*\{\s*)?最([大小])值?\s*\}?\s*\}?(?=\s*=)"
)
_ALL_IN_TEXT = re.compile(r"\\text\s*\{\s*([\u4e00-\u9fff、]+)\s*\}")
_MARK_IN_TEXT = re.compile(r"\\text\s*\{\s*([,;])\s*(?=[\u4e00-\u9fff])")
_MARK_AFTER_WORDS = re.compile(r"(\\text\s*\{[^{}]*[\u4e00-\u9fff])\s*([,;])\s*\}")


def with_plain_phrases(text: str) -> str:
    r"""Return a text with ``y取得最大值9`` as ``y_{\max}=9``, and words alone in ``\text`` without it."""
    if "值" in text:
        text = _EXTREME_VALUE.sub(r"\1为", text)
        text = _EXTREME_OF_LETTER.sub(_extreme_of_letter, text)
    if "最" in text:
        text = _EXTREME_INDEX.sub(lambda match: _extreme_of_letter(match)[:-1], text)
    if "\\text" in text:
        text = _ALL_IN_TEXT.sub(r"\1", text) if _ALL_IN_TEXT.fullmatch(text) else text
        text = _MARK_IN_TEXT.sub(r"\1 \\text{", text)
        text = _MARK_AFTER_WORDS.sub(r"\1}\2 ", text)
    return text


def _extreme_of_letter(match: re.Match[str]) -> str:
    """Return ``y的最大值为`` as the label of a maximum."""
    return f"{match[1]}_{{\\{'max' if match[2] == '大' else 'min'}}}="
