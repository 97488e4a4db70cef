"""Compute one word's evidence: a number for each language of its script, higher for a more likely one.

Letters are judged by langdetect's profiles, which hold how often each language of Wikipedia has each sequence of one to
three letters. langdetect itself samples sequences at random. Here each of a word's sequences counts once, so that the
evidence is deterministic and takes microseconds. Common words have extra evidence. In Han script, kana decides.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache, lru_cache
from importlib import resources

from guerdon_plugins.verifiers.language.scripts import KANA, LANGUAGES, first_letter, first_name

_WEIGHTS = {2: 0.25, 3: 0.35}
"""Weights by length of the sequence. They are below 1, because sequences overlap and would count letters repeatedly."""

_UNSEEN = 5e-5
"""Added to every frequency, as in langdetect: an unseen sequence is rare, not impossible."""

_COMMON_WORD = 3.0
"""The extra evidence of a common word for its languages."""

_MAX_LETTERS = 30
"""The most letters of a word that are read, so that time is linear in the text's length."""

_KANA = (math.log(0.5), math.log(0.005))
"""How likely a character is kana, in Japanese and in Chinese, which may have a few."""

_HAN = (math.log(0.5), math.log(0.995))


@lru_cache(maxsize=2**14)
def evidence(word: str, script: str) -> tuple[float, ...]:
    """Return the evidence of a word in lower case, in the order of ``LANGUAGES[script]``."""
    if script == "CJK":
        return _KANA if first_name(first_letter(word)) in KANA else _HAN
    parts = re.split("['’]", word[:_MAX_LETTERS])
    padded = f" {' '.join(parts)} "
    common = _common_words(script)
    found = [
        _sequence(padded[start : start + length], script)
        for length in _WEIGHTS
        for start in range(len(padded) - length + 1)
    ]
    found += [common.get(part) for part in parts]
    known = [row for row in found if row is not None]
    return tuple(map(math.fsum, zip(*known, strict=True))) if known else (0.0,) * len(LANGUAGES[script])


@lru_cache(maxsize=2**17)
def _sequence(sequence: str, script: str) -> tuple[float, ...] | None:
    """Return the evidence of a sequence of letters, or ``None`` if no language has it.

    A text has few of a script's sequences, so each is computed when it is first met.
    """
    profiles = _profiles(script)
    counts = [counted.get(sequence, 0) for counted, _ in profiles]
    if not any(counts):
        return None
    weight, index = _WEIGHTS[len(sequence)], len(sequence) - 1
    return tuple(
        weight * math.log(_UNSEEN + count / totals[index])
        for count, (_, totals) in zip(counts, profiles, strict=True)
    )


@cache
def _profiles(script: str) -> list[tuple[dict[str, int], list[int]]]:
    """Return how often each language has each sequence, and how many sequences of each length it has."""
    folder = resources.files("langdetect") / "profiles"
    profiles = [json.loads((folder / name).read_text(encoding="utf-8")) for name in LANGUAGES[script]]
    return [(profile["freq"], profile["n_words"]) for profile in profiles]


@cache
def _common_words(script: str) -> dict[str, tuple[float, ...]]:
    file = resources.files("guerdon_plugins.verifiers.language") / "common_words.txt"
    speakers: dict[str, set[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        language, *common = line.split()
        for word in common:
            speakers.setdefault(word, set()).add(language)
    languages = LANGUAGES[script]
    return {
        word: tuple(_COMMON_WORD * (language in speaking) for language in languages)
        for word, speaking in speakers.items()
        if not speaking.isdisjoint(languages)
    }
