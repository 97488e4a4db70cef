"""``language``: the share of a completion's words in the target language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from guerdon import Failure, Score
from guerdon.text import (
    Part,
    checked_tags,
    select_part,
    without_code,
    without_formulas,
    words,
)
from guerdon_plugins.verifiers.language.scripts import SCRIPT_OF, is_mark, language_of, script_of
from guerdon_plugins.verifiers.language.segments import count_languages

MAX_NAME_WORDS = 3
"""The most words of a name."""

_SCRIPTS_OF_CODE = frozenset({"LATIN", "GREEK"})
"""The scripts of code and formulas, whose words in code do not count. Words of other scripts there are text."""

_NO_WORDS = re.compile(
    r"https?://[!-~]+|</?[A-Za-z][\w-]*+>|\b[A-Za-z]\w*+(?=[\[(^])"
    r"|\b(?:sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm|mod|min|max)\b(?=\s*\d)"
)
"""Links, tags, and unmarked names in formulas: ``dp[i]``, ``f(x)``, ``AB^2``, ``sin 30``."""

_SENTENCE_END = re.compile(r"[.!?:;。！？：；…।\n]+")


class _Word(NamedTuple):
    text: str
    script: str


class Language:
    """Scores the share of words in the target language: the language consistency reward of DeepSeek-R1.

    arXiv 2501.12948, section 2.3.2. Code, formulas, links, tags, numbers and names of quantities are left out. Words in
    them count if their script is not that of code and formulas, because they could hide reasoning. If the script has
    one language, it decides: Hangul is Korean. Languages that share a script are distinguished word by word, with the
    neighbouring words: Chinese from Japanese by kana, the others by common words and by langdetect's profiles. The
    score is deterministic. In scripts without spaces each character is a word. In other scripts than Latin, names and
    labels in Latin letters (``Alice``, ``ABC``) do not count. Text without any words is skipped.

    Args:
        target: The language, as an ISO 639 code (``en``, ``zh-CN``, ``nb``, ``fil``). Without it, each row's column
            ``language`` names it.
        part: The part to judge: the reasoning (all, if no tags mark it), the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: The target is not a supported language.
    """

    audit_kind = "language"

    def __init__(
        self,
        target: str | None = None,
        part: Part = "reasoning",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        self._target = None if target is None else _known_language(target)
        self._part = part
        self._tags = checked_tags(reasoning_tags)

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
        counts = _count_words(select_part(completion, self._part, self._tags), target)
        total = counts.total()
        if total == 0:
            return Score.skipped("there are no words to judge")
        return Score(
            counts[target] / total,
            explanation=f"{counts[target]} of {total} words are in '{target}'",
            metadata={"words": dict(sorted(counts.items()))},
        )


def _known_language(code: str) -> str:
    language = language_of(code)
    if language is None:
        raise ValueError(f"the language {code!r} is unknown. Known: {', '.join(sorted(SCRIPT_OF))}")
    return language


def _count_words(text: str, target: str) -> Counter[str]:
    """Return the number of words by language. Words of other scripts than the target's count by script."""
    script = SCRIPT_OF[target]
    counts: Counter[str] = Counter()
    own: list[list[str]] = []
    for sentence in _sentences(text, script):
        counts.update(name.lower() for _, name in sentence if name != script)
        own.append([word for word, name in sentence if name == script])
    return counts + count_languages(own, script, target)


def _sentences(text: str, script: str) -> Iterator[list[_Word]]:
    """Yield the words of each sentence: first in the scripts of code, then in the others, which also count in code."""
    prose = without_formulas(without_code(text))
    for sentence in _split(prose):
        if not _only_names(sentence, script):
            yield [word for word in sentence if word.script in _SCRIPTS_OF_CODE]
    if not text.isascii():
        for sentence in _split(text):
            yield [word for word in sentence if word.script not in _SCRIPTS_OF_CODE]


def _only_names(sentence: list[_Word], script: str) -> bool:
    """Return whether all foreign words in a sentence are names and labels in Latin letters: ``Alice``, ``ABC``.

    Every language writes them in Latin letters. Text in capitals does not evade the check: names have at most three
    words
    in a row, and are not more than the words in the sentence's own script.
    """
    if script in _SCRIPTS_OF_CODE:
        return False
    foreign = [word for word in sentence if word.script in _SCRIPTS_OF_CODE]
    own = sum(word.script == script for word in sentence)
    runs = groupby(sentence, key=lambda word: word.script in _SCRIPTS_OF_CODE)
    longest = max((len(list(run)) for is_foreign, run in runs if is_foreign), default=0)
    return (
        len(foreign) <= own and longest <= MAX_NAME_WORDS and all(word.text[0].isupper() for word in foreign)
    )


def _split(text: str) -> Iterator[list[_Word]]:
    # NFKC turns full-width Latin, half-width kana and 𝑥 into ordinary letters.
    for sentence in _SENTENCE_END.split(unicodedata.normalize("NFKC", _NO_WORDS.sub(" ", text))):
        yield [_Word(word, script_of(word)) for word in words(sentence) if _is_language(word)]


def _is_language(word: str) -> bool:
    """Return whether a word indicates a language: it is not a number or a letter for a quantity."""
    if word.isascii():
        return len(word) > 1 and not word[0].isdigit()
    letters = [character for character in word if not is_mark(character)]
    if len(letters) == 1:
        return unicodedata.category(letters[0]) == "Lo"  # a syllable or an ideograph
    return bool(letters) and not letters[0].isdigit()
