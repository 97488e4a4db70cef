"""The supported languages, by the script that they are written in."""

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
"""Languages by script. Several of one script are distinguished by more than the script."""

SCRIPT_OF = {language: script for script, languages in LANGUAGES.items() for language in languages}

_ALIASES = {
    alias: language
    for language, aliases in {
        "af": "afr", "am": "amh", "ar": "ara arb", "bg": "bul", "bn": "ben", "bo": "bod tib", "ca": "cat",
        "cs": "ces cze", "cy": "cym wel", "da": "dan", "de": "deu ger", "el": "ell gre", "en": "eng",
        "es": "spa", "et": "est ekk", "fa": "fas per pes", "fi": "fin", "fr": "fra fre", "gu": "guj",
        "he": "heb iw", "hi": "hin", "hr": "hrv", "hu": "hun", "hy": "hye arm", "id": "ind in ms may msa zsm",
        "it": "ita", "ja": "jpn", "ka": "kat geo", "km": "khm", "kn": "kan", "ko": "kor", "lo": "lao",
        "lt": "lit", "lv": "lav lvs", "mk": "mkd mac", "ml": "mal", "mr": "mar", "my": "mya bur",
        "ne": "nep npi", "nl": "nld dut", "no": "nb nn nor nob nno", "pa": "pan", "pl": "pol", "pt": "por",
        "ro": "ron rum mo", "ru": "rus", "si": "sin", "sk": "slk slo", "sl": "slv", "so": "som",
        "sq": "sqi alb als", "sv": "swe", "sw": "swa swh", "ta": "tam", "te": "tel", "th": "tha",
        "tl": "tgl fil", "tr": "tur", "uk": "ukr", "ur": "urd", "vi": "vie", "zh": "zho chi cmn yue",
    }.items()
    for alias in aliases.split()
}  # fmt: skip
"""Other codes of the languages: ISO 639-2 and 639-3, old ones, and those that share a profile. Both written forms of
Norwegian are ``no``. Malay counts as Indonesian, because their letters do not differ.
"""


def language_of(code: str) -> str | None:
    """Return the language of a code such as ``en``, ``zh-CN``, ``nb`` or ``fil``; ``None`` for an unknown one."""
    language = code.strip().lower().replace("_", "-").partition("-")[0]
    language = _ALIASES.get(language, language)
    return language if language in SCRIPT_OF else None


KANA = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"})

_WRITING = dict.fromkeys([*KANA, "CJK", "IDEOGRAPHIC"], "CJK")
"""The script for the first word of a character's Unicode name, if the two differ."""


@lru_cache(maxsize=2**14)
def first_name(character: str) -> str:
    """Return the first word of a character's Unicode name: ``LATIN``, ``HIRAGANA``."""
    return unicodedata.name(character, "UNKNOWN").partition(" ")[0]


def script_of(word: str) -> str:
    """Return the script of a word, by its first letter."""
    return _script(first_letter(word))


@lru_cache(maxsize=2**14)
def _script(character: str) -> str:
    name = first_name(character)
    return _WRITING.get(name, name)


def first_letter(word: str) -> str:
    """Return a word's first character that is not a combining mark, or its first one if all of them are."""
    first = word[0]
    if not is_mark(first):
        return first
    return next((character for character in word if not is_mark(character)), first)


@lru_cache(maxsize=2**14)
def is_mark(character: str) -> bool:
    """Return whether a character combines with the one before it."""
    return unicodedata.category(character)[0] == "M"
