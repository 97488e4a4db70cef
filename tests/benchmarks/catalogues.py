"""Sentences that people translated, by language, from the message catalogues of installed programs."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from guerdon.text import words
from guerdon_plugins.verifiers.language.scripts import SCRIPT_OF

CODES = {"nb": "no", "zh_CN": "zh", "zh_TW": "zh", "zh_Hans": "zh", "zh_Hant": "zh", "pt_BR": "pt"}
"""Languages by their names in catalogues, where verifiers use others."""

LANGUAGES = [
    "af",
    "ar",
    "bg",
    "bn",
    "ca",
    "cs",
    "cy",
    "da",
    "de",
    "el",
    "en",
    "es",
    "et",
    "fa",
    "fi",
    "fr",
    "gu",
    "he",
    "hi",
    "hr",
    "hu",
    "id",
    "it",
    "ja",
    "ko",
    "lt",
    "lv",
    "mk",
    "mr",
    "nl",
    "no",
    "pa",
    "pl",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sq",
    "sv",
    "ta",
    "te",
    "th",
    "tr",
    "uk",
    "vi",
    "zh",
]
"""What guerdon, langdetect and lingua know, of what the catalogues hold enough of."""

SPACELESS = frozenset({"ja", "th", "zh"})
LEAST = 5
"""Words in a sentence; twice that where words are characters."""

PLACEHOLDER = re.compile(
    r"<[^>]*>|%\([^)]*\)\w|%[-+#0-9.*$lhjzt]*\w|\{[^}]*\}|\$\{?\w+\}?|&\w+;|[_&](?=\w)|[\"`„“”«»]"
)
NO_PROSE = re.compile(r"[\\/@|=<>{}\[\]*#~^$_\d]|--|\w\.\w|\s-\w")
END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।؟])|\n+")


def sentences(files: Iterable[Path]) -> dict[str, list[str]]:
    """The catalogues' sentences by language, each once; English ones are what the others translate."""
    found: dict[str, dict[str, None]] = {language: {} for language in LANGUAGES}
    originals: set[str] = set()
    for file in sorted(files):
        language = CODES.get(file.parts[-3], file.parts[-3])
        if file.name.startswith("iso_") or language not in found:  # ISO's are lists of names
            continue
        for original, translation in _messages(file):
            if original.isascii():
                found[language].update(dict.fromkeys(_split(translation, language, original)))
                if original not in originals:
                    originals.add(original)
                    found["en"].update(dict.fromkeys(_split(original, "en", "")))
    return {language: list(texts) for language, texts in found.items()}


def _messages(file: Path) -> Iterator[tuple[str, str]]:
    """What a catalogue translates, with the first form of each plural."""
    with file.open("rb") as catalogue:
        try:
            messages = gettext.GNUTranslations(catalogue)._catalog  # type: ignore[attr-defined]
        except (ValueError, LookupError, OSError):  # not what its header says
            return
    for key, translation in messages.items():
        original, form = (key, 0) if isinstance(key, str) else key
        if original and form == 0 and translation != original:
            yield original.rpartition("\x04")[2], translation


def _split(text: str, language: str, original: str) -> Iterator[str]:
    """The sentences that are one language's beyond doubt: no names of files, no options, few untranslated words."""
    kept = set(original.lower().split())
    for sentence in END.split(PLACEHOLDER.sub(" ", text)):
        sentence = " ".join(sentence.split()).strip("-•: ")
        if NO_PROSE.search(sentence) or (language == "en" and not sentence.isascii()):
            continue
        if any("a" <= letter <= "z" for letter in sentence.lower()) != (SCRIPT_OF[language] == "LATIN"):
            continue
        found = words(sentence)
        if len(found) < LEAST * (2 if language in SPACELESS else 1):
            continue
        foreign = sum((word.isupper() and len(word) > 1) or word.lower() in kept for word in found)
        if foreign <= 0.25 * len(found):
            yield sentence
