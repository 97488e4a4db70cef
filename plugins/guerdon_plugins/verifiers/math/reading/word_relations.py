"""Relations in words: ``x is at least 2``, ``n is even``, ``for all positive integers n``."""

from __future__ import annotations

import re

_PARITY = re.compile(
    r"(?:is|are|must be|has to be|should be|为|是)?\s*(?:an?\s+)?(?:(even|偶数)|(?:odd|奇数))"
    r"(?:\s+(?:integer|number)s?)?",
    re.IGNORECASE,
)
_FOR_PARITY = re.compile(
    r"(?:for|if|when|where|当)?\s*(?:(even|偶数)|(?:odd|奇数))(?:\s+integers?)?", re.IGNORECASE
)
_COMPARISONS = {
    phrase: operator
    for operator, phrases in {
        "≥": "at least|no less than|not less than|greater than or equal to|大于等于|大于或等于|不小于|至少",
        "≤": "at most|no more than|not more than|no greater than|not greater than|less than or equal to|"
        "小于等于|小于或等于|不大于|不超过|至多",
        ">": "greater than|more than|larger than|strictly greater than|大于",
        "<": "less than|smaller than|fewer than|strictly less than|小于",
        "≠": "not equal to|不等于",
        "∣": "divides|整除",
        "∤": "does not divide",
    }.items()
    for phrase in phrases.split("|")
}
_SIGNS = {
    **dict.fromkeys(("positive", "正数"), ">"),
    **dict.fromkeys(("negative", "负数"), "<"),
    **dict.fromkeys(("nonnegative", "non-negative", "非负数"), "≥"),
    **dict.fromkeys(("nonpositive", "non-positive"), "≤"),
}
_DIVISIBLE = {"divisible by": "∣", "a multiple of": "∣", "not divisible by": "∤", "not a multiple of": "∤"}
_OR_MORE = {
    **dict.fromkeys(("more", "greater", "higher", "larger", "above"), "≥"),
    **dict.fromkeys(("less", "fewer", "lower", "smaller", "below"), "≤"),
}
_OR_EQUAL = {"<": "≤", ">": "≥"}
_VERB = re.compile(r"^(?:(?:is|are|must be|can be)\s+|为|是)")
_FOR_ALL = re.compile(
    r"for\s+(?:(all|any|every|each|some)(?:\s+(.*))?|((?:positive |non-?negative )?integers?))", re.IGNORECASE
)
_ALL = re.compile(
    r"(?:(?:for\s+)?(?:all|any|every|each)(?:\s+(?:the\s+)?(.+))?|(?:所有|任意|一切|全体)的?(.*))",
    re.IGNORECASE,
)
_IS_KIND = re.compile(
    r"(?:(?:is|are|be|being)\s+|为|是)(?:an?\s+|any\s+|all\s+|some\s+|任意|任何)*(.+)", re.IGNORECASE
)
_KINDS = {
    "integer": "Z",
    "positive integer": "Z+",
    "natural number": "N+",
    "nonnegative integer": "N",
    "non-negative integer": "N",
    "real": "R",
    "real number": "R",
    "positive real number": "R+",
    "positive real": "R+",
    "rational number": "Q",
    "rational": "Q",
    "complex number": "C",
    **dict.fromkeys(
        ("constant", "real constant", "arbitrary constant", "arbitrary real constant", "常数", "任意常数"),
        "R",
    ),
    "positive constant": "R+",
    "整数": "Z",
    "正整数": "Z+",
    "自然数": "N",
    "非负整数": "N",
    "实数": "R",
    "正实数": "R+",
    "有理数": "Q",
}


def parity(words: str) -> int | None:
    """Return the remainder by 2 that words after a letter name: 0 for ``is even``; ``None`` for other words."""
    match = _PARITY.fullmatch(words.strip(" ,."))
    return None if match is None else int(match[1] is None)


def parity_before(words: str) -> int | None:
    """Return the remainder by 2 that words before a letter name: 0 for "for even"; ``None`` for other words."""
    match = _FOR_PARITY.fullmatch(words.strip(" ,"))
    return None if match is None else int(match[1] is None)


def comparison(words: str, then: tuple[str, str]) -> tuple[str, int] | None:
    """Return the sign of a comparison in words, and of how many texts it is made; "or" is a text of its own."""
    phrase = words.lower().strip(" ,")
    operator = _COMPARISONS.get(_VERB.sub("", phrase, count=1))
    if operator in _OR_EQUAL and then[0] == "or" and then[1].lower().strip() in ("equal to", "equals"):
        return _OR_EQUAL[operator], 3
    return None if operator is None else (operator, 1)


def or_more(words: str) -> str | None:
    """Return the sign of "or more" after a number, without its "or"; ``None`` for other words."""
    return _OR_MORE.get(words.lower().strip(" ,."))


def sign(words: str) -> str | None:
    """Return the sign of the comparison with zero that words name: ``>`` for "is positive"."""
    verb, found = _VERB.subn("", words.lower().strip(" ,."), count=1)
    return _SIGNS.get(verb) if found else None


def divisibility(words: str) -> str | None:
    """Return the sign of a divisor before what it divides that words name in the other order: "is divisible by"."""
    return _DIVISIBLE.get(_VERB.sub("", words.lower().strip(" ,"), count=1))


def is_power(words: str) -> bool:
    """Whether words after a letter say that it is a power of what comes next."""
    return _VERB.sub("", words.lower().strip(" ,"), count=1) in ("a power of", "power of")


def quantified(words: str) -> str | None:
    """Return the number system that "for all" names, empty where it names none; ``None`` for other words."""
    match = _FOR_ALL.fullmatch(words.strip(" ,"))
    if match is None:
        return None
    system = _system(match[2] or match[3] or "")
    return system if system or match[1].lower() != "some" else None


def all_of(words: str) -> str | None:
    """Return the number system of "all integers" before a letter, empty if it names none; ``None`` for other words."""
    match = _ALL.fullmatch(words.strip(" ,"))
    return None if match is None else _system(match[1] or match[2] or "")


def parity_of_all(words: str) -> int | None:
    """Return the remainder by 2 of "all odd integers" before a letter; ``None`` for other words."""
    match = _ALL.fullmatch(words.strip(" ,"))
    return None if match is None else parity_before(match[1] or match[2] or "")


def membership(words: str) -> str | None:
    """Return the number system that words after a letter name: ``Z`` for "is an integer"; ``None`` for other words."""
    match = _IS_KIND.fullmatch(words.strip(" ,."))
    return None if match is None else _system(match[1]) or None


def _system(kind: str) -> str | None:
    kind = kind.lower().strip()
    return _KINDS.get(kind) or _KINDS.get(kind.removesuffix("s")) or (None if kind else "")
