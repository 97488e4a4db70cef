"""The answer that a completion states without a mark: in a sentence, or as the formula or bold text at its end."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.reading.emphasis import in_bold, is_doubted

__all__ = ["stated_at_the_end", "statement", "without_closing"]

_LONGEST = 1000
_LONGEST_CLOSING = 300
"""The patterns of a closing take time quadratic in the text, so they see only its end."""
_STATEMENT = re.compile(
    r"\banswer(?:\s+\w+){0,3}?(?:\s*[:：]|\s+(?:is|are|equals)\b\s*:?|\s*=)\s*|答案\s*(?:[:：]|[是为][:：]?)\s*|故[选填]\s*[:：]?\s*",
    re.IGNORECASE,
)
_DISPLAY = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", re.DOTALL)
_INLINE = re.compile(r"(?<!\$)\$([^$\n]+)\$(?!\$)|\\\((.+?)\\\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z$\\*])|(?<=[.!?*$:：)\]])\n|\n\n+|(?<=[。！？])")
_BULLET = re.compile(r"[-+*•]\s")
"""The mark of an item in a list without numbers; numbers count steps as well."""
_CLAUSE_END = re.compile(r"[;；:：]|[,，](?!\d)")
_CLOSE = " \t\r\n.。!！*_"
_VERB = re.compile(
    r"^\W*(?:so|thus|therefore|hence)\b|\b(?:is|are|equals|gives?|yields?|we (?:get|obtain|find|have|conclude))\b"
    r"|[得为是即有]|所以|因此|故|综上|答|需要",
    re.IGNORECASE,
)
"""What says that a formula or bold text after it is a result."""
_ASIDE = re.compile(
    r"\b(?:check|verif\w+|substitut\w+|note|notice|recall|remember|given|problem|known|original|incidentally|by the way"
    r"|if|unless|instead|hypothe\w+|wrongly|typical\w*|common\w*|earlier|previous\w*|recap\w*|next|another"
    r"|unrelated|whether|doubt|mistake|impossible|unlikely|maybe|perhaps|possibly|guess|roughly|about|sorry|would|could"
    r"|should|might|may|must|was|were|rules? out|at most|at least|sure"
    r"|students?|assum\w+|suppos\w+|example|target|option|we used)\b"
    r"|验|检|代入|已知|假设|如果|若|可能|也许|例如|大约",
    re.IGNORECASE,
)
"""What says that a sentence checks, doubts or repeats something."""
_CONDITION = re.compile(r"\b(?:if|unless)\b|如果|若", re.IGNORECASE)
_TAIL = re.compile(r"(?<=[*$.\])])[!！\s]*[^\w\s$*(){}\[\]\\?？]*$")
_FAREWELL = re.compile(
    r"(?:^|(?<=[.!?$*)\s]))(?:I hope (?:this|that|it)|Let me know|Feel free|Hope (?:this|that))[^\n]*$",
    re.IGNORECASE,
)


def statement(text: str) -> tuple[int, str] | None:
    """Return the place of the last "the answer is X" of a text, and X; an empty X where the sentence doubts it.

    Args:
        text: A completion without its reasoning.
    """
    found = list(_STATEMENT.finditer(text))
    if not found:
        return None
    last = found[-1]
    before = _sentences(text[max(0, last.start() - _LONGEST) : last.start()])[-1]
    stated = _sentences(text[last.end() : last.end() + _LONGEST])[0]
    if _CONDITION.search(before) or _is_aside(_CLAUSE_END.split(before)[-1]) or stated.endswith(("?", "？")):
        return last.start(), ""
    return last.start(), in_bold(without_closing(stated)).strip(_CLOSE)


def stated_at_the_end(text: str) -> str | None:
    """Return the answer that a text states, or None.

    It is what follows the last "the answer is". Without these words, it is the display that ends the text, or the only
    formula or bold text of the last sentence, where it ends the sentence after a verb such as "is" or "we get". A
    sentence that denies, doubts, checks or repeats what is given states nothing, and so does one of several items.

    Args:
        text: A completion without its reasoning.
    """
    named = statement(text)
    if named is not None:
        return named[1] or None
    text = without_closing(text.rstrip()[-_LONGEST:])
    displays = list(_DISPLAY.finditer(text))
    if displays and not text[displays[-1].end() :].strip(_CLOSE):
        introduction = _sentences(text[: displays[-1].start()])[-1]
        return None if _is_aside(introduction) else displays[-1][1] or displays[-1][2]
    sentence = _sentences(text)[-1]
    if _BULLET.match(sentence):
        *lines, _ = [line for line in text.split("\n") if line.strip()]
        if lines and _BULLET.match(lines[-1].strip()):
            return None
        sentence = " ".join([*lines[-1:], sentence[2:]])
    if sentence.startswith("**") and sentence.endswith("**") and sentence.count("**") == 2:
        sentence = sentence.strip("*")
    bold = in_bold(sentence)
    formulas = list(_INLINE.finditer(sentence))
    if bold != sentence:
        before, found = sentence.partition("**")[0], bold.strip(_CLOSE)
    elif len(formulas) == 1 and not sentence[formulas[0].end() :].strip(_CLOSE):
        before, found = sentence[: formulas[0].start()], formulas[0][1] or formulas[0][2]
    else:
        return None
    return found if _VERB.search(before) and not _is_aside(before) else None


def without_closing(text: str) -> str:
    """Return a text without a closing such as "I hope this helps!" in its last line, or an exclamation mark."""
    text = text.rstrip()
    body, end = text[:-_LONGEST_CLOSING], text[-_LONGEST_CLOSING:]
    return body + _TAIL.sub("", _FAREWELL.sub("", end).rstrip())


def _is_aside(sentence: str) -> bool:
    doubtful = is_doubted(_CLAUSE_END.split(sentence)[-1]) or _ASIDE.search(sentence) is not None
    return doubtful or sentence.endswith(("?", "？")) or _DISPLAY.search(sentence) is not None


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()] or [""]
