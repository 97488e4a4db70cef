"""Compare two short texts: normalize as SQuAD does, in several languages, and count shared tokens."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from decimal import Decimal
from functools import cached_property

from guerdon.text import words
from guerdon_plugins.verifiers.qa.languages import ARTICLES
from guerdon_plugins.verifiers.qa.values import Date, date, normalized, number

_ARTICLES = {language: frozenset(articles.split()) for language, articles in ARTICLES.items()}
_ELIDED = {
    language: re.compile(rf"\b(?:{'|'.join(elided)})(?=\w)")
    for language, articles in ARTICLES.items()
    if (elided := [article for article in articles.split() if article.endswith("'")])
}
"""The articles that a language writes with an apostrophe, before a word without a space."""

_KEPT = re.compile(r"(?<=\w)[+#]+|(?<=\b[a-z])[-−](?!\S)")
"""Signs that belong to a name: C++, C#, A+, A-."""

_ARABIC_MARKS = re.compile("[\u064b-\u0652\u0640\u0591-\u05bd\u05bf-\u05c7]")
"""Vowel signs and stretching of Arabic, points of Hebrew."""

_ALEF = str.maketrans("أإآٱى", "ااااي")

_NUMERAL = re.compile(
    r"(?:(?<![\w.,)\]])[-−])?(?:(?<![\w.])\.)?\d+(?:(?:[^\w\s]|_)+\d+)*|[<>≤≥≠±]+(?=\s*[-−]?\.?\d)|(?<![\w.,)\]])[-−+]+(?=[-−+]\.?\d)"
)
"""Digits with the signs between them, a minus or a point before them, a comparison, or a sign too many."""

_LAST_LETTER = re.compile(r"\w\W*\sA\W*$")
"""The name of a letter, as in "vitamin A": no article ends a text."""

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
    folded = normalized(text).casefold()
    if not folded.isascii():
        folded = _ARABIC_MARKS.sub("", folded).translate(_ALEF)
    articles = _ARTICLES.get(language, frozenset())
    if language in _ELIDED:
        folded = _ELIDED[language].sub("", folded.replace("’", "'"))
    folded = _SPACED_RANGE.sub(r"\1", folded)
    folded = _NUMERAL.sub(lambda found: _numeral(found[0], language, dashes), folded)
    spans = sorted(match.span() for pattern in (_KEPT, _NUMERAL) for match in pattern.finditer(folded))
    pieces, end = [], 0
    for start, stop in spans:
        pieces += [folded[end:start].translate(_BARE[dashes]), folded[max(start, end) : stop]]
        end = max(end, stop)
    bare = "".join([*pieces, folded[end:].translate(_BARE[dashes])])
    found = [part for word in bare.split() if word not in articles for part in _parts(word)]
    if language == "en" and _LAST_LETTER.search(text):
        found.append("a")
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


class _Bare(dict[int, str]):
    """What replaces each character outside of numbers and names, for ``str.translate``; filled as characters come."""

    def __init__(self, dashes: str) -> None:
        self._dashes = dashes

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        dropped = category[0] == "P" or category in ("Cf", "Sc") or char in "^`|~<>=+"
        self[code] = self._dashes if _is_dash(char) or char == "/" else "" if dropped else char
        return self[code]


_BARE = {dashes: _Bare(dashes) for dashes in ("", " ")}


def _parts(word: str) -> list[str]:
    """Return a word's characters where its script has no spaces, else the word."""
    return [word] if word.isascii() or len(found := words(word)) < 2 or "".join(found) != word else found


_MARKS = re.compile(r"[$€£¥₹₩%‰]")
_MARK_WORDS = (
    (re.compile(r"\s*\b(?:percent|per cent|prozent|pour cent|por ciento|por cento|per cento)$"), "%"),
    (re.compile(r"\s*\b(?:us )?dollars?$"), "$"),
    (re.compile(r"\s*\beuros?$"), "€"),
)


class Reading:
    """An answer as a number, a date and tokens. Each is read once, when it is first compared.

    Args:
        text: The answer.
        language: Its ISO 639 code.
    """

    def __init__(self, text: str, language: str) -> None:
        self._given = text
        self._language = language
        self._text = _with_marks(text, language)

    @cached_property
    def marks(self) -> set[str]:
        """The signs of currencies and percent."""
        return set(_MARKS.findall(self._text))

    @cached_property
    def number(self) -> Decimal | None:
        """The number that the answer is."""
        return number(self._text, self._language)

    @cached_property
    def date(self) -> Date | None:
        """The date that the answer is."""
        return date(self._text, self._language)

    @cached_property
    def forms(self) -> set[tuple[str, ...]]:
        """The tokens of the answer, with dashes as nothing and as spaces; without the empty form."""
        return {tuple(tokens(self._text, self._language, dashes=dashes)) for dashes in _BARE} - {()}

    @cached_property
    def folded(self) -> str:
        """The answer without case and surrounding space."""
        return self._text.strip().casefold()

    @cached_property
    def tokens(self) -> Counter[str]:
        """The tokens of the answer as it was given, with their counts."""
        return Counter(tokens(self._given, self._language))


def equal(answer: Reading, gold: Reading) -> bool:
    """Return whether two answers are the same number, date or text."""
    if _other_marks(answer, gold):
        return False
    if answer.number is not None and gold.number is not None:
        return answer.number == gold.number
    if answer.date is not None and gold.date is not None:
        return answer.date == gold.date
    return not answer.forms.isdisjoint(gold.forms) or answer.folded == gold.folded != ""


def _other_marks(answer: Reading, gold: Reading) -> bool:
    """Return whether the signs of currencies and percent differ.

    Either may leave its unit to the question: ``50`` and ``50%`` are equal, as for SQuAD. A sign of per mille counts.
    """
    if answer.marks and gold.marks:
        return answer.marks != gold.marks
    return gold.number is not None and "‰" in answer.marks


def _with_marks(text: str, language: str) -> str:
    """Return a number with a sign for the word behind it: ``5 percent`` is ``5%``."""
    folded = text.casefold().strip(" .")
    for word, mark in _MARK_WORDS:
        found = word.search(folded)
        if found and number(folded[: found.start()], language) is not None:
            return f"{folded[: found.start()]}{mark}"
    return text


def f1(answer: Reading, gold: Reading) -> float:
    """Return the F1 of the shared tokens of two answers, as SQuAD defines it; 1 for answers that are equal."""
    if equal(answer, gold):
        return 1.0
    if answer.number is not None and gold.number is not None and _other_marks(answer, gold):
        return 0.0
    ours, theirs = answer.tokens, gold.tokens
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
