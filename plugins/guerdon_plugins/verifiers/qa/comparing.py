"""Compare two short texts: normalize as SQuAD does, in several languages, and count shared tokens."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from guerdon.text import words
from guerdon_plugins.verifiers.qa.languages import ARTICLES
from guerdon_plugins.verifiers.qa.values import date, number

_KEPT = re.compile(r"(?<=\w)[+#]+")
"""Signs that belong to a name: C++, C#, A+."""

_ARABIC_MARKS = re.compile("[\u064b-\u0652\u0640\u0591-\u05bd\u05bf-\u05c7]")
"""Vowel signs and stretching of Arabic, points of Hebrew."""

_ALEF = str.maketrans("أإآٱى", "ااااي")

_NUMERAL = re.compile(
    r"(?:(?<![\w.,)\]])[-−])?(?:(?<![\w.])\.)?\d+(?:(?:[^\w\s]|_)+\d+)*|[<>≤≥≠±]+(?=\s*[-−]?\.?\d)"
)
"""Digits with the signs between them, a minus or a point before them, or a comparison."""

_SPACED_RANGE = re.compile(r"(?<=\d)\s*([-–—−/:])\s*(?=\d)")


def tokens(text: str, language: str, *, dashes: str = "") -> list[str]:
    """Return the tokens of an answer without case, punctuation and articles.

    The rules are SQuAD's (arXiv 1606.05250), with the articles of ``language``, and MLQA's for scripts without spaces
    (arXiv 1910.07475): there a character is a token.

    Args:
        text: An answer.
        language: Its ISO 639 code.
        dashes: The replacement of a hyphen, a dash or a slash: nothing, as SQuAD's, or a space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _ARABIC_MARKS.sub("", folded).translate(_ALEF)
    articles = ARTICLES.get(language, "").split()
    elided = [article for article in articles if article.endswith("'")]
    if elided:
        folded = re.sub(rf"\b(?:{'|'.join(elided)})(?=\w)", "", folded.replace("’", "'"))
    folded = _SPACED_RANGE.sub(r"\1", folded)
    folded = _NUMERAL.sub(lambda found: _numeral(found[0], language, dashes), folded)
    kept = {
        place
        for pattern in (_KEPT, _NUMERAL)
        for match in pattern.finditer(folded)
        for place in range(*match.span())
    }
    bare = "".join(_bare(char, dashes) if place not in kept else char for place, char in enumerate(folded))
    found = [part for word in bare.split() if word not in articles for part in _parts(word)]
    return (
        [word.removeprefix("ال") if len(word) > 3 else word for word in found] if language == "ar" else found
    )


def _numeral(text: str, language: str, dashes: str) -> str:
    """Return digits and the signs between them in one form: without them, 3.5 would be 35, and 5-6 would be 56."""
    if not text[-1].isdigit() or text.isdigit():
        return text
    value = number(text, language)
    if value is not None:
        return f"{value.normalize():f}"
    return re.sub(r"[,;]", dashes or r"\g<0>", "".join("-" if _is_dash(char) else char for char in text))


def _is_dash(char: str) -> bool:
    return unicodedata.category(char) == "Pd" or char == "−"


def _bare(char: str, dashes: str) -> str:
    category = unicodedata.category(char)
    if _is_dash(char) or char == "/":
        return dashes
    return "" if category[0] == "P" or category in ("Cf", "Sc") or char in "^`|~<>=+" else char


def _parts(word: str) -> list[str]:
    """Return a word's characters where its script has no spaces, else the word."""
    return [word] if word.isascii() or len(found := words(word)) < 2 or "".join(found) != word else found


_MARKS = re.compile(r"[$€£¥₹₩%]")
_MARK_WORDS = (
    (re.compile(r"(?<=\d)\s*(?:percent|per cent|prozent|pour cent|por ciento|por cento|per cento)$"), "%"),
    (re.compile(r"(?<=\d)\s*(?:us )?dollars?$"), "$"),
    (re.compile(r"(?<=\d)\s*euros?$"), "€"),
)


def equal(answer: str, gold: str, language: str) -> bool:
    """Return whether two answers are the same number, date or text."""
    answer, gold = _with_marks(answer), _with_marks(gold)
    answer_marks, gold_marks = set(_MARKS.findall(answer)), set(_MARKS.findall(gold))
    if answer_marks and gold_marks and answer_marks != gold_marks:
        return False
    for read in (number, date):
        values = read(answer, language), read(gold, language)
        if None not in values:
            return values[0] == values[1]
    forms = [
        {tuple(tokens(text, language, dashes=dashes)) for dashes in ("", " ")} for text in (answer, gold)
    ]
    same = (forms[0] & forms[1]) - {()}
    return bool(same) or answer.strip().casefold() == gold.strip().casefold() != ""


def _with_marks(text: str) -> str:
    """Return a number with a sign for the word behind it: ``5 percent`` is ``5%``."""
    folded = text.casefold().strip(" .")
    for word, mark in _MARK_WORDS:
        if word.search(folded):
            return word.sub(mark, folded)
    return text


def f1(answer: str, gold: str, language: str) -> float:
    """Return the F1 of the shared tokens of two answers, as SQuAD defines it; 1 for answers that are equal."""
    if equal(answer, gold, language):
        return 1.0
    ours, theirs = tokens(answer, language), tokens(gold, language)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))
