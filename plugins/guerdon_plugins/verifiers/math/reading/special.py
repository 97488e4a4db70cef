"""Forms that the whole string tells: times of day, dates, numerals with letters for digits, fixed phrases, options."""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon_plugins.verifiers.math.nodes import (
    BaseNumeral,
    Clock,
    Date,
    Node,
    Number,
    Relation,
    Symbol,
    Text,
)
from guerdon_plugins.verifiers.math.reading.cycles import read_cycles
from guerdon_plugins.verifiers.math.reading.directions import read_direction
from guerdon_plugins.verifiers.math.reading.formulas_of_chemistry import read_compound
from guerdon_plugins.verifiers.math.reading.number_words import NUMBER_WORDS
from guerdon_plugins.verifiers.math.reading.options import plain_option
from guerdon_plugins.verifiers.math.reading.phrases import read_phrase
from guerdon_plugins.verifiers.math.reading.propositions import read_proposition

_TEXT = r"(?:\\(?:text|mbox|mathrm)\{)?"
_CLOCK = re.compile(
    rf"(\d{{1,2}})(?:\s*:\s*([0-5]\d)(?:\s*:\s*([0-5]\d))?)?\s*{_TEXT}"
    rf"\s*([aApP])\.?\s*\\?,?[mM]\b\.*\}}?\.*"
)
_SHORT_CLOCK = re.compile(r"(\d{1,2})\s*:\s*([0-5]\d)\s*([ap])?\.?", re.IGNORECASE)
_NAMED_TIMES = {
    **dict.fromkeys(("noon", "12 noon", "midday", "中午", "正午"), Clock(12, 0, "pm")),
    **dict.fromkeys(("midnight", "12 midnight", "午夜"), Clock(0, 0, "")),
}
_O_CLOCK = re.compile(rf"(\d{{1,2}})\s*{_TEXT}\s*o'?clock\}}?")
_CHINESE_CLOCK = re.compile(r"(上午|下午|晚上|早上|凌晨|中午)?(\d{1,2})[时点時:](?:(\d{1,2})分?|(半)|整)?")
_ISO_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_DAY_FIRST_OR_MONTH_FIRST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})")
_CHINESE_DATE = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(?:(\d{1,2})[日号號])?")
_MONTH_NAMES = "january february march april may june july august september october november december".split()  # noqa: SIM905
_MONTH = "|".join((*_MONTH_NAMES, *(f"{name[:3]}\\.?" for name in _MONTH_NAMES), "sept\\.?"))
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_ENGLISH_DATE = re.compile(
    rf"{_WEEKDAY}(?:({_MONTH})\s*(\d{{1,2}})(?:st|nd|rd|th)?|(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH}))"
    rf"(?:,?\s*(\d{{4}}))?",
    re.IGNORECASE,
)
_WIDE_NUMERAL = re.compile(
    r"\(?((?:[0-9A-F]|\\(?:text|mathrm)\{[0-9A-F]+\})+)\)?_\{?\s*(?:\\text\{)?(\d+|[a-z]+)\}?\}?"
)
_HEXADECIMAL = re.compile(r"0x([0-9A-Fa-f]{1,40})")
_IN_BASE = re.compile(r"([0-9A-F]+)\s*\(?\s*(?:in\s+)?base[ -]?(\d+|[a-z]+)\s*\)?")
_REMAINDER = re.compile(
    r"(\d+)\s*(?:[rR]|,?\s*(?:with )?(?:a )?remainder(?: of| is)?|余数?为?|"
    r"(?:\\[lc]dots|\\dots)\s*(?:\\[lc]dots|\\dots)|\.{6})\s*(\d+)"
)
_BETWEEN = re.compile(
    r"(?:is |lies )?(?:strictly )?(?:in )?between (-?\d+(?:\.\d+)?) and (-?\d+(?:\.\d+)?)", re.IGNORECASE
)
_CHINESE_BETWEEN = re.compile(r"在?(-?\d+(?:\.\d+)?)\s*[和与到至]\s*(-?\d+(?:\.\d+)?)\s*之间")
_CROSSED = re.compile(r"([A-Z])\s*\\times\s*([A-Z])")
"""A product of sets, of which the order counts; so does that of vectors and matrices."""
_SMALL_OPTION = re.compile(r"\([a-e]\)")
_TEXT_GROUP = re.compile(r"\\(?:text|mathrm)\{([0-9A-F]+)\}")
_ANY_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|textrm)\s*\{([^{}]*)\}|\\[ ,;:]|~")
_SPACES = re.compile(r"\s+")
_BESIDE_HAN = re.compile(r" (?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff]) ")
_SENTENCE_WITH_TIME = re.compile(
    r"(?:It|[Tt]he|He|She|They|[A-Z][a-z]+)(?: [a-z]+){1,8} (?:at|is) (\d{1,2}.*[aApP]\.?[mM]\.?)"
)
_OTHER_TIME = re.compile(r"\b(?:not|no|never|before|after|until|or|if|unless|than|about)\b")


def read_special(text: str) -> Node | None:
    """Read an answer whose whole text has a form of its own; ``None`` for every other."""
    if not text.isascii() or not text.isdigit():
        plain = (
            _ANY_TEXT.sub(lambda match: f" {match[1] or ''} ", text) if "\\" in text or "~" in text else text
        )
        plain = (
            _SPACES.sub(" ", plain.replace("$", "") if "$" in plain and "\\$" not in plain else plain)
            .strip()
            .removeprefix("at ")
            .removeprefix("At ")
        )
        if not plain.isascii():
            plain = _BESIDE_HAN.sub("", plain)
        if node := read_phrase(plain):
            return node
        if (match := _SENTENCE_WITH_TIME.fullmatch(plain)) and not _OTHER_TIME.search(plain):
            plain = match[1]
        if node := _remainder(plain) or _between(plain) or read_direction(plain):
            return node
        if node := _clock(text) or _clock(plain) or _date(plain) or _wide_numeral(text, plain):
            return node
    if text[:1] == "(" and (cycles := read_cycles(text)):
        return cycles
    if (formula := read_proposition(text) or read_compound(text)) is not None:
        return formula
    if match := _CROSSED.fullmatch(text.strip()):
        return Symbol(f"{match[1]}×{match[2]}")
    if _SMALL_OPTION.fullmatch(text):
        return Text(text)
    option = plain_option(text)
    return None if option is None else Text(option)


def _remainder(text: str) -> Text | None:
    """Read ``7 R 3``, "7 remainder 3" and ``7……3``: the result of a division with a remainder."""
    match = _REMAINDER.fullmatch(text)
    return Text(f"{match[1]} remainder {match[2]}") if match else None


def _between(text: str) -> Relation | None:
    """Read "between 10 and 11" as an inequality."""
    match = _BETWEEN.fullmatch(text) or _CHINESE_BETWEEN.fullmatch(text)
    if match is None:
        return None
    low, high = (Number(Fraction(end), "." in end) for end in match.groups())
    return Relation((low, Symbol("x"), high), ("<", "<"))


def _clock(text: str) -> Clock | None:
    if found := _NAMED_TIMES.get(text.lower().strip(". ")):
        return found
    if match := _CLOCK.fullmatch(text):
        hour = int(match[1])
        return (
            Clock(hour, int(match[2] or 0), match[4].lower() + "m", int(match[3] or 0))
            if match[2] or 1 <= hour <= 12
            else None
        )
    if match := _SHORT_CLOCK.fullmatch(text):
        return Clock(int(match[1]), int(match[2]), match[3].lower() + "m" if match[3] else "")
    if match := _O_CLOCK.fullmatch(text):
        return Clock(int(match[1]), 0, "")
    if match := _CHINESE_CLOCK.fullmatch(text):
        minutes = 30 if match[4] else int(match[3] or 0)
        half = "" if match[1] is None else "pm" if match[1] in ("下午", "晚上") else "am"
        said = match[1] or (":" not in text and (match[3] or match[4] or text[-1] == "整"))
        if said and minutes < 60:
            return Clock(int(match[2]), minutes, half)
    return None


def _date(text: str) -> Date | None:
    if match := _ISO_DATE.fullmatch(text):
        # 2024/6/2 may be a division; a zero in front of a month or a day is a date's.
        if match[2] == "-" or len(match[3]) == len(match[4]) == 2:
            return _checked_date(match[1], match[3], match[4])
        return None
    if match := _DAY_FIRST_OR_MONTH_FIRST.fullmatch(text):
        first, second = int(match[1]), int(match[3])
        if first > 12 or second > 12 or first == second:
            month, day = (second, first) if first > 12 else (first, second)
            return _checked_date(match[4], str(month), str(day))
        return None
    if match := _CHINESE_DATE.fullmatch(text):
        return _checked_date(match[1], match[2], match[3]) if match[1] or match[3] else None
    if match := _ENGLISH_DATE.fullmatch(text):
        name = (match[1] or match[4]).lower()[:3]
        month = next(index for index, full in enumerate(_MONTH_NAMES, 1) if full.startswith(name))
        return _checked_date(match[5], str(month), match[2] or match[3])
    return None


def _checked_date(year: str | None, month: str, day: str | None) -> Date | None:
    date = Date(int(year or 0), int(month), int(day or 0))
    return date if 1 <= date.month <= 12 and date.day <= 31 else None


def _wide_numeral(text: str, plain: str) -> BaseNumeral | None:
    if match := _HEXADECIMAL.fullmatch(plain):
        return BaseNumeral(match[1].upper().lstrip("0") or "0", 16)
    match = _WIDE_NUMERAL.fullmatch(text) or _IN_BASE.fullmatch(plain)
    if match is None:
        return None
    digits = _TEXT_GROUP.sub(r"\1", match[1])
    base = int(match[2]) if match[2].isdigit() else NUMBER_WORDS.get(match[2], 0)
    if digits[0].isdigit() and 2 <= base <= 36 and all(int(digit, 36) < base for digit in digits):
        return BaseNumeral(digits.lstrip("0") or "0", base)
    return None
