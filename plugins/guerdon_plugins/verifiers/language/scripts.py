"""The languages that can be asked for, by the script that they are written in."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

LANGUAGES = {
    script: tuple(languages.split())
    for script, languages in {
        "LATIN": "af ca cs cy da de en es et fi fr hr hu id it lt lv nl no pl pt ro sk sl so sq sv sw tl tr vi",
        "CYRILLIC": "bg mk ru uk",
        "ARABIC": "ar fa ur",
        "DEVANAGARI": "hi mr ne",
        "CJK": "ja zh",
        "ARMENIAN": "hy",
        "BENGALI": "bn",
        "ETHIOPIC": "am",
        "GEORGIAN": "ka",
        "GREEK": "el",
        "GUJARATI": "gu",
        "GURMUKHI": "pa",
        "HANGUL": "ko",
        "HEBREW": "he",
        "KANNADA": "kn",
        "KHMER": "km",
        "LAO": "lo",
        "MALAYALAM": "ml",
        "MYANMAR": "my",
        "SINHALA": "si",
        "TAMIL": "ta",
        "TELUGU": "te",
        "THAI": "th",
        "TIBETAN": "bo",
    }.items()
}
"""Those of one script are told apart by more than it."""

SCRIPT_OF = {language: script for script, languages in LANGUAGES.items() for language in languages}

KANA = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"})

_WRITING = dict.fromkeys([*KANA, "CJK", "IDEOGRAPHIC"], "CJK")
"""What the first word of a character's Unicode name says of its script, where the two differ."""


@lru_cache(maxsize=2**14)
def first_name(character: str) -> str:
    """The first word of a character's Unicode name: ``LATIN``, ``HIRAGANA``."""
    return unicodedata.name(character, "UNKNOWN").partition(" ")[0]


def script_of(word: str) -> str:
    """The script of a word, by its first character."""
    name = first_name(word[0])
    return _WRITING.get(name, name)
