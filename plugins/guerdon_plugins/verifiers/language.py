"""``language``: the share of a completion's words that are in the language it should be in."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from guerdon import Failure, Score
from guerdon.text import Part, select_part, without_code, without_formulas, words

_KANA = frozenset({"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"})

_WRITING = dict.fromkeys([*_KANA, "CJK", "IDEOGRAPHIC"], "CJK")
"""What the first word of a character's Unicode name says of its script, where the two differ."""

_LANGUAGES = {
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
}
"""The languages that can be asked for, by their script. Those of one script are told apart by more than it."""

_SCRIPT_OF = {language: script for script, languages in _LANGUAGES.items() for language in languages.split()}

_ENOUGH_WORDS = 8
"""To tell the languages of a script apart: 99% of the words of English GSM8K solutions are told right with it."""

_MIN_WORDS = 5
"""A text that has fewer words in all is too short to tell."""

_MAX_WORDS = 40
"""So that text without sentences is not judged in one piece."""

_MAX_CHUNKS = 500
"""Bounds the time: about a millisecond each."""

_KANA_SHARE = 0.1
"""Japanese sentences have half of their characters in kana; Chinese has a stray one at most."""

_NO_WORDS = re.compile(r"https?://\S+|</?[A-Za-z][\w-]*+>")
_SENTENCE_END = re.compile(r"[.!?:;。！？：；…।\n]+")


class Language:
    """Scores the share of words in the target language: the language consistency reward of DeepSeek-R1.

    arXiv 2501.12948, section 2.3.2. Code, formulas, links, tags, numbers and one-letter names are left out. The script
    decides where it can: Hangul is Korean, kana is Japanese. Languages that share a script are told apart piece by
    piece (a sentence, or some when they are short): Chinese from Japanese by kana, the others by langdetect's profiles
    of that script, seeded, so that the same text always has the same score. In scripts without spaces each
    character is a word. Text without any words is skipped.

    Args:
        target: The language, as an ISO 639-1 code (``en``, ``zh``). Without it, each row's column ``language`` says it.
        part: What is judged: the reasoning (all, where no tags mark it), the final answer or the whole.

    Raises:
        ValueError: The target is no language that can be told.
    """

    def __init__(self, target: str | None = None, part: Part = "reasoning") -> None:
        self._target = None if target is None else _known_language(target)
        self._part = part

    def __call__(self, completion: str, language: str | None = None) -> Score:
        target = self._target
        if target is None:
            if language is None:
                return Score.failed(
                    Failure.REFERENCE, "no language to expect: set 'target', or give rows a column 'language'"
                )
            try:
                target = _known_language(language)
            except ValueError as error:
                return Score.failed(Failure.REFERENCE, str(error))
        counts = _count_words(select_part(completion, self._part), target)
        total = counts.total()
        if total == 0:
            return Score.skipped("there are no words to judge")
        return Score(
            counts[target] / total,
            explanation=f"{counts[target]} of {total} words are in '{target}'",
            metadata={"words": dict(sorted(counts.items()))},
        )


def _known_language(code: str) -> str:
    language = code.lower().replace("_", "-").partition("-")[0]
    if language not in _SCRIPT_OF:
        raise ValueError(f"the language {code!r} is unknown. Known: {', '.join(sorted(_SCRIPT_OF))}")
    return language


def _count_words(text: str, target: str) -> Counter[str]:
    """Words by language; those of other scripts than the target's by script, as nobody asks which language they are."""
    prose = _NO_WORDS.sub(" ", without_formulas(without_code(text)))
    # NFKC: full-width Latin and half-width kana read as what they are, and 𝑥 as the x that it stands for.
    sentences = [
        [(word, _script(word)) for word in words(sentence) if _is_language(word)]
        for sentence in _SENTENCE_END.split(unicodedata.normalize("NFKC", prose))
    ]
    counts: Counter[str] = Counter()
    script = _SCRIPT_OF[target]
    for sentence in sentences:
        counts.update(name.lower() for _, name in sentence if name != script)
    own = [[word for word, name in sentence if name == script] for sentence in sentences]
    for chunk in _chunks(own):
        counts[_tell(chunk, script, target)] += len(chunk)
    return +counts


def _is_language(word: str) -> bool:
    """Whether a word tells of a language: no number, and no letter that names a quantity."""
    if len(word) == 1:
        return unicodedata.category(word) == "Lo"  # a syllable or an ideograph
    return not word[0].isdigit()


def _script(word: str) -> str:
    name = unicodedata.name(word[0], "UNKNOWN").partition(" ")[0]
    return _WRITING.get(name, name)


def _chunks(sentences: list[list[str]]) -> Iterator[list[str]]:
    """Join short sentences and cut endless ones, so that each piece has enough words to tell its language."""
    total = sum(map(len, sentences))
    enough = max(_ENOUGH_WORDS, total // _MAX_CHUNKS)
    chunk: list[str] = []
    held: list[str] = []  # one piece waits, to take in what is left over in the end
    for sentence in sentences:
        for start in range(0, len(sentence), _MAX_WORDS):
            chunk += sentence[start : start + _MAX_WORDS]
            if len(chunk) >= enough:
                if held:
                    yield held
                held, chunk = chunk, []
    if held or chunk:
        yield held + chunk


def _tell(chunk: list[str], script: str, target: str) -> str:
    """The language of some words in one script. Too few to tell are taken for the target."""
    languages = _LANGUAGES[script]
    if languages == target or len(chunk) < _MIN_WORDS:
        return target
    if script == "CJK":
        kana = sum(unicodedata.name(word[0]).partition(" ")[0] in _KANA for word in chunk)
        return "ja" if kana >= _KANA_SHARE * len(chunk) else "zh"
    likely = _likely_languages(" ".join(chunk), script)
    return likely[0] if likely and target not in likely else target


def _likely_languages(text: str, script: str) -> list[str]:
    """The languages with a probability above 0.1, the most probable first."""
    from langdetect.lang_detect_exception import LangDetectException

    detector = _detector_factory(script).create()
    detector.append(text.lower() if text.isupper() else text)  # langdetect passes over words in capitals
    try:
        return [language.lang for language in detector.get_probabilities()]
    except LangDetectException:  # no letters that any profile knows
        return []


@cache
def _detector_factory(script: str) -> Any:
    """A factory of its own for each script: fewer profiles to load and to confuse, and nobody else's seed."""
    from langdetect.detector_factory import DetectorFactory

    factory = DetectorFactory()
    factory.seed = 0
    profiles = resources.files("langdetect") / "profiles"
    texts = [(profiles / language).read_text(encoding="utf-8") for language in _LANGUAGES[script].split()]
    factory.load_json_profile(texts)
    return factory
