"""Read an answer as a number or a date, where it is one as a whole."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from guerdon_plugins.verifiers.qa.languages import (
    DECIMAL_COMMA,
    MONTHS,
    NUMBER_WORDS,
    SCALES,
    SHORT_MONTHS,
    TENS,
)

Date: TypeAlias = tuple[int | None, int | None, int | None]
"""Year, month and day; ``None`` for a part that is not given."""

MAX_CHARACTERS = 200
"""A longer text is not read as a number or a date."""


_MARKS = re.compile(r"^\s*([+\-−]?)\s*[^\W\d_]{0,3}[$€£¥₹₩]\s*|\s*[%‰$€£¥₹₩]$")
_MINUS = re.compile(r"^(?:[‑‒–](?=[.\d])|−\s*)")
"""A minus before a number as typography writes it."""
_RAISED = re.compile(r"(?<=\d)[⁰¹²³⁴-⁹]+")
_POWER_OF_TEN = re.compile(r"(?<=\d)(?:\s*[x×*·]\s*10\s*\^\s*|e)([+-]?\d{1,3})$")
_NEGATIVE = re.compile(r"(?:minus|negative)\s+(?=\w)")
_WITH_COMMA = re.compile(r"([+-]?)(\d{1,3}(?:[. ']\d{3})+|\d+)?(?:,(\d+))?")
_WITH_POINT = re.compile(r"([+-]?)(\d{1,3}(?:[, '_٬]\d{3})+|\d+)?(?:[.٫](\d+))?")
_NUMBERS = {
    language: {word: place for place, word in enumerate(words.split())}
    for language, words in NUMBER_WORDS.items()
}
_MONTHS = {
    language: {name: place for place, name in enumerate(names.split(), start=1)}
    for language, names in MONTHS.items()
}
_ENGLISH = (
    _MONTHS["en"] | {name: place for place, name in enumerate(SHORT_MONTHS.split(), start=1)} | {"sept": 9}
)
_FILLERS = frozenset("of the st nd rd th de del den il le er года г".split())  # noqa: SIM905
"""Words beside the numbers and the month of a date."""


def normalized(text: str) -> str:
    """Return a text in one form of each character. An exponent of a number stays one: 10⁶ is not 106."""
    return unicodedata.normalize("NFKC", _RAISED.sub(r"^\g<0>", text))


def number(text: str, language: str) -> Decimal | None:
    """Return the number that a text is, in digits of any script or as a word, or ``None``."""
    if len(text) > MAX_CHARACTERS:
        return None
    folded = normalized(text).casefold().strip().rstrip(" .")
    folded = _MINUS.sub("-", _MARKS.sub(r"\1", folded))
    if power := _POWER_OF_TEN.search(folded.replace("−", "-")):
        value = _digits(folded[: power.start()], language, 1)
        return None if value is None else value.scaleb(int(power[1]))
    negative = _NEGATIVE.match(folded)
    if negative:
        value = number(folded[negative.end() :], language)
        return None if value is None else -value
    word = _in_one_word(folded, language)
    if word is not None:
        return Decimal(word)
    digits, scale = _scale(folded)
    if scale > 1 and (word := 1 if digits == "a" else _in_one_word(digits, language)) is not None:
        return Decimal(word * scale)
    return _digits(digits, language, scale)


def _in_one_word(text: str, language: str) -> int | None:
    """Return the number that a word is, or several of English: ``twenty-one``, ``two hundred and five``."""
    words = _NUMBERS.get(language, {})
    if text in words or language != "en":
        return words.get(text)
    total, part, limit, last = 0, 0, 10**15, ""
    for word in re.split(r"[\s-]+", text):
        tens = 10 * (TENS.index(word) + 2) if word in TENS else 0
        ones = words.get(word, 0)
        if word == "and":
            if last not in SCALES:
                return None
        elif word == "hundred" and 0 < part < 100:
            part *= 100
        elif (scale := SCALES.get(word, 0)) > 100 and part and scale < limit:
            total, part, limit = total + part * scale, 0, scale
        elif (tens or ones) and (
            part % 100 == 0 or (ones < 10 and not tens and part % 100 >= 20 and not part % 10)
        ):
            part += tens or ones
        else:
            return None
        last = word
    return None if last == "and" else total + part


def _scale(text: str) -> tuple[str, int]:
    for word, factor in SCALES.items():
        if text.endswith(word):
            return text[: -len(word)].strip(), factor
    return text, 1


def _digits(text: str, language: str, scale: int) -> Decimal | None:
    spaced = re.sub(r"\s", " ", text).replace("−", "-").replace("’", "'")
    found = (_WITH_COMMA if language in DECIMAL_COMMA else _WITH_POINT).fullmatch(spaced)
    if not found or not (found[2] or found[3]):
        return None
    whole = re.sub(r"\D", "", found[2] or "0")
    try:
        return Decimal(f"{found[1]}{whole}.{found[3] or 0}") * scale
    except InvalidOperation:
        return None


_NUMERIC = re.compile(r"(\d{1,4})\s*[-/.]\s*(\d{1,2})\s*[-/.]\s*(\d{1,4})")
_CJK = re.compile(r"(?:(\d{1,4})\s*[年년])?\s*(?:(\d{1,2})\s*[月월])?\s*(?:(\d{1,2})\s*[日号號일])?")


def date(text: str, language: str) -> Date | None:
    """Return the date that a text is, or ``None``. 3/4/2024 is ambiguous in English, so it is not a date."""
    if len(text) > MAX_CHARACTERS:
        return None
    folded = unicodedata.normalize("NFKC", text).casefold().strip(" .")
    cjk = _CJK.fullmatch(folded)
    if cjk and any(cjk.groups()):
        return _date(*(int(part) if part else None for part in cjk.groups()))
    numeric = _NUMERIC.fullmatch(folded)
    if numeric:
        return _numeric(*numeric.groups(), english=language == "en")
    return _in_words(folded, language)


def _numeric(first: str, second: str, third: str, *, english: bool) -> Date | None:
    if len(first) == 4:
        return _date(int(first), int(second), int(third))
    if len(third) != 4:
        return None
    one, two, year = int(first), int(second), int(third)
    if one > 12 or (not english and two <= 12):
        return _date(year, two, one)
    return _date(year, one, two) if two > 12 or one == two else None


def _in_words(text: str, language: str) -> Date | None:
    months = _months(language)
    words = re.findall(r"\d+|[^\W\d_]+", text)
    named = [months[word] for word in words if word in months]
    numbers = [int(word) for word in words if word.isdecimal()]
    if len(named) != 1 or any(
        not word.isdecimal() and word not in months and word not in _FILLERS for word in words
    ):
        return None
    days = [value for value in numbers if value <= 31 and value > 0]
    years = [value for value in numbers if value > 31]
    if len(days) > 1 or len(years) > 1 or not numbers:
        return None
    return _date(years[0] if years else None, named[0], days[0] if days else None)


def _months(language: str) -> dict[str, int]:
    return _ENGLISH if language == "en" else _MONTHS.get(language, _MONTHS["en"])


def _date(year: int | None, month: int | None, day: int | None) -> Date | None:
    if (month is not None and not 1 <= month <= 12) or (day is not None and not 1 <= day <= 31):
        return None
    return year, month, day
