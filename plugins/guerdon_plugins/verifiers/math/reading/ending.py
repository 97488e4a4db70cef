"""The answer that the end of a completion states without a mark: a sentence, a formula or bold text."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading.emphasis import in_bold, is_doubted

__all__ = ["stated_at_the_end"]

_LONGEST = 1000
_STATEMENT = re.compile(
    r"(?:\b(?:answer|result)(?:\s*[:：]|\s+(?:is|are|equals)\b\s*:?|\s*=)|(?:答案|结果)\s*(?:[:：]|[是为][:：]?)|故[选填]\s*[:：]?)\s*",
    re.IGNORECASE,
)
_DISPLAY = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_INLINE = re.compile(r"\$([^$\n]+)\$|\\\((.+?)\\\)")
_SENTENCE_END = re.compile(r"(?<=[.!])\s+(?=[A-Z$\\*])|(?<=[。！])")
_BULLET = re.compile(r"[-+*•]\s")
"""The mark of an item in a list without numbers; numbers count steps as well."""
_CLOSE = " \t\r\n.。!！*_"


def stated_at_the_end(text: str) -> str | None:
    """Return the answer that the last sentence states, or None.

    It is what follows "the answer is"; or the display at the end; or the only formula or bold text of the last
    sentence, where it ends the sentence. A sentence with two of them, or with a word such as "not" before it, states
    none, and so does one of several items in a list.

    Args:
        text: A completion without its reasoning.
    """
    paragraph = text.rstrip()[-_LONGEST:].rpartition("\n\n")[2].strip()
    before = text.rstrip()[: -len(paragraph)].strip() if paragraph else ""
    displays = list(_DISPLAY.finditer(paragraph))
    if displays:
        last = displays[-1]
        if paragraph[last.end() :].strip(_CLOSE):
            return None
        introduction = _sentences(paragraph[: last.start()].strip() or before)[-1]
        if len(displays) > 1 or is_doubted(introduction):
            return None
        return last[1] or last[2]
    sentence = _sentences(paragraph.rpartition("\n")[2])[-1]
    if sentence.endswith(("?", "？")):
        return None
    statements = list(_STATEMENT.finditer(sentence))
    if statements:
        stated = sentence[statements[-1].end() :]
        return (
            None if is_doubted(sentence[: statements[-1].start()]) else in_bold(stated).strip(_CLOSE) or None
        )
    if _BULLET.match(sentence) and _is_one_of_several(text):
        return None
    bold = in_bold(sentence)
    if bold != sentence:
        return bold.strip(_CLOSE)
    formulas = list(_INLINE.finditer(sentence))
    if (
        len(formulas) != 1
        or sentence[formulas[0].end() :].strip(_CLOSE)
        or is_doubted(sentence[: formulas[0].start()])
    ):
        return None
    return formulas[0][1] or formulas[0][2]


def _is_one_of_several(text: str) -> bool:
    """Return whether the line before the last one is an item of a list as well."""
    lines = [line for line in text.rstrip()[-_LONGEST:].split("\n") if line.strip()]
    return len(lines) > 1 and _BULLET.match(lines[-2].strip()) is not None


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()] or [""]
