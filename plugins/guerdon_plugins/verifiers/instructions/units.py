"""Split a response into words, sentences, paragraphs and lines, in any script."""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache

from guerdon.text import words as script_words

_TOKEN = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the runs of letters and digits, as IFEval counts words; a Chinese or Japanese character is a word."""
    found = _TOKEN.findall(text) if text.isascii() else _marked_tokens().findall(text)
    return [part for word in found for part in ([word] if word.isascii() else _split(word))]


@cache
def _marked_tokens() -> re.Pattern[str]:
    marks = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char)[0] == "M")
    return re.compile(rf"[\w{marks}]+")


def _split(word: str) -> list[str]:
    return script_words(word) or [word]


_CLOSING = "\"'”’»)]*_"
_TITLE = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e)\.$", re.IGNORECASE)
_ABBREVIATION = re.compile(
    r"\b(?:jr|sr|inc|ltd|co|etc|no|fig|approx|dept|est|a\.m|p\.m|u\.s|u\.k|ph\.d|[A-Za-z])\.$", re.IGNORECASE
)
_SENTENCE_END = re.compile(
    r"(?:(?<![.!?…])[.!?…]++[\"'”’»)\]*_]*+(?=\s|$)|[。！？｡।॥؟۔]+[\"'”’»）」』]*|\n\s*\n)"
)


def sentences(text: str) -> list[str]:
    """Return the sentences, each with its mark. Abbreviations, initials and numbers end none."""
    found: list[str] = []
    start = 0
    for mark in _SENTENCE_END.finditer(text):
        if _is_abbreviation(text, start, mark):
            continue
        found.append(text[start : mark.end()].strip())
        start = mark.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if any(char.isalnum() for char in sentence)]


def _is_abbreviation(text: str, start: int, mark: re.Match[str]) -> bool:
    """Return whether a full stop belongs to a title, an initial or an abbreviation inside of a sentence."""
    if mark[0].rstrip(_CLOSING) != "." or not text[mark.end() :].strip():
        return False
    before = text[max(start, mark.start() - 10) : mark.start() + 1]
    if _TITLE.search(before):
        return True
    follows = text[mark.end() :].lstrip()[:1]
    return _ABBREVIATION.search(before) is not None and not (follows.isupper() and before[-2:-1].islower())


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def spaced_words(text: str) -> list[str]:
    """Return what spaces separate, in lower case and without ASCII punctuation, as IFBench counts words."""
    return text.lower().translate(_PUNCTUATION).split()


def lines(text: str) -> list[str]:
    """Return the lines that are not blank."""
    return [line for line in text.split("\n") if line.strip()]


def has_word(text: str, word: str) -> bool:
    """Return whether a text has a word or phrase that is not part of a longer word, in any case."""
    folded, wanted = text.casefold(), word.casefold()
    place = folded.find(wanted)
    while place >= 0:
        end = place + len(wanted)
        if not _joined(folded, place) and not _joined(folded, end):
            return True
        place = folded.find(wanted, place + 1)
    return False


def _joined(text: str, place: int) -> bool:
    pair = text[max(place - 1, 0) : place + 1]
    return (
        0 < place < len(text)
        and all(char.isalnum() or char == "_" for char in pair)
        and len(words(pair)) == 1
    )
