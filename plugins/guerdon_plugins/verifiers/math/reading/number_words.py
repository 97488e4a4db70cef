"""Numbers in words: ``twenty-five``, ``two thirds``, ``三十五``, ``三分之一``, and words that scale a number."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "  # noqa: SIM905
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)  # noqa: SIM905
}
_LARGE = {
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "quintillion": 10**18,
}
NUMBER_WORDS = {**_UNITS, **_TENS}
MULTIPLIERS: dict[str, Fraction] = {
    word: Fraction(value)
    for words, value in {
        "tens": 10,
        "dozen dozens 打": 12,
        "gross": 144,
        "hundred hundreds 百": 100,
        "thousand thousands 千": 1000,
        "万 萬": 10**4,
        "lakh lakhs": 10**5,
        "million millions mn mln": 10**6,
        "crore crores": 10**7,
        "亿 億": 10**8,
        "billion billions bn": 10**9,
        "trillion trillions": 10**12,
        "quadrillion quadrillions": 10**15,
        "quintillion quintillions": 10**18,
    }.items()
    for word in words.split()
} | {"成": Fraction(1, 10)}
"""Words that scale the number before them and have one meaning."""
BELOW_ZERO = frozenset(("below zero", "degrees below zero", "below 0"))

_ORDINALS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "eleventh": 11,
    "twelfth": 12,
    **{f"{word}th": value for word, value in _UNITS.items() if value > 12},
    **{f"{word[:-1]}ieth": value for word, value in _TENS.items()},
    "hundredth": 100,
    "thousandth": 1000,
    "millionth": 10**6,
    "billionth": 10**9,
}


def read_fraction_word(word: str, *, one: bool) -> Fraction | None:
    """Return what one ``third`` or several ``thirds`` scale by; ``one`` says that the word may be singular."""
    singular = word.removesuffix("s")
    if singular == word and not one:
        return None
    below = _ORDINALS.get(singular)
    return None if below is None else Fraction(1, below)


_WORD = "|".join(sorted((*_UNITS, *_TENS), key=len, reverse=True))
_ANY_WORD = f"{_WORD}|hundred|{'|'.join(_LARGE)}"
_HAS_WORD = re.compile(rf"(?i)(?<![a-z\\])(?:{_WORD}|half)(?![a-z])")
_PHRASE = re.compile(
    rf"(?i)((?:^-?|[{{$=(,]|\\\(|\band|\bor)\s*)((?:{_WORD})(?:(?:[\s-]+|\s+and\s+)(?:{_ANY_WORD})(?![a-z]))*)(?![a-z])"
    rf"(?!\s*\()(-?)(?=(-?)[a-z]|[^\w-]|$)"
)
_AND_A_HALF = re.compile(r"(?<!\d)(\d++)\s++and\s++(?:a|one)\s+half\b")
_A_PART = re.compile(r"(?i)^(?:an?\s+)?(?=(?:half|third|quarter|fifth|tenth)$)")


def with_digits(text: str) -> str:
    """Return the text with the English numbers that begin an answer or an item of it in digits."""
    if not _HAS_WORD.search(text):
        return text
    text = _PHRASE.sub(_in_digits, text)
    text = _A_PART.sub("1 ", text)
    return _AND_A_HALF.sub(r"\1\\frac{1}{2}", text)


def _in_digits(match: re.Match[str]) -> str:
    value = _english(re.split(r"[\s-]+", match[2].lower()))
    if value is None:
        return match[0]
    return f"{match[1]}{value}{' ' if match[3] else ''}"


def _english(words: list[str]) -> int | None:
    """Return the value of the words of a number; ``None`` where they are several numbers."""
    total = group = 0
    room = 1000  # what the next word must be smaller than
    for word in words:
        if word == "and":
            continue
        if word in _LARGE:
            if not group:
                return None
            total, group, room = total + group * _LARGE[word], 0, 1000
        elif word == "hundred":
            if not 0 < group < 10:
                return None
            group, room = group * 100, 100
        else:
            value = NUMBER_WORDS[word]
            if value >= room or (group % 10 and room < 100):
                return None
            group += value
            room = 10 if value >= 20 else 1
    return total + group


_DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
    "兩": 2,
}
_CHINESE = "零〇一二两兩三四五六七八九十百千万亿"
_CHINESE_FRACTION = re.compile(
    rf"(?<![\d{_CHINESE}])(?:([\d{_CHINESE}]++)又)?([\d{_CHINESE}]++)分之([\d{_CHINESE}]+(?:[点.][\d{_CHINESE}]+)?)"
)
_CHINESE_NUMBER = re.compile(rf"(负?)([{_CHINESE}]+)(?:点([{_CHINESE}]+))?")


def chinese_in_digits(text: str) -> str:
    r"""Return the text with Chinese fractions as ``\frac`` or percent."""
    return _CHINESE_FRACTION.sub(_chinese_fraction, text) if "分之" in text else text


def _chinese_fraction(match: re.Match[str]) -> str:
    whole, below, above = match.groups()
    parts = [read_chinese(part) for part in (whole or "零", below, above)]
    if any(part is None for part in parts):
        return match[0]
    whole, below, above = (str(part) for part in parts)
    if below == "100" and whole == "0":
        return f"{above}\\%"
    return f"{'' if whole == '0' else whole}\\frac{{{above}}}{{{below}}}"


def leading_chinese_number(text: str) -> tuple[str, str] | None:
    """Return the digits of the Chinese number that a text starts with, and the rest of the text."""
    match = _CHINESE_NUMBER.match(text)
    if match is None:
        return None
    number = read_chinese(match[2] + (f"点{match[3]}" if match[3] else ""))
    return None if number is None else (("-" if match[1] else "") + number, text[match.end() :])


def read_chinese(text: str) -> str | None:
    """Return a number in Chinese or Arabic digits in decimal notation, or ``None``."""
    whole, point, decimals = text.replace(".", "点").partition("点")
    if whole.isascii():
        value: int | None = int(whole)
    else:
        value = _chinese_integer(whole)
    if value is None:
        return None
    tail = "".join(digit if digit.isascii() else str(_DIGITS.get(digit, "")) for digit in decimals)
    return f"{value}.{tail}" if point else str(value)


def _chinese_integer(text: str) -> int | None:
    if all(character in _DIGITS for character in text):
        return int("".join(str(_DIGITS[character]) for character in text)) if len(text) < 20 else None
    total = section = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in "十百千":
            section += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[character]
            digit = 0
        elif character in "万亿":
            total = (total + section + digit or 1) * (10**4 if character == "万" else 10**8)
            section = digit = 0
        else:
            return None
    return total + section + digit
