"""Find the language of each word of a text: the most likely sequence of languages, with a cost for each change.

One word is weak evidence, and a text rarely changes its language, mostly between sentences. The words' evidence is
summed along every sequence of languages, less a cost for each change. Dynamic programming (Viterbi's) finds the best
sequence, in time linear in the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import fsum
from operator import itemgetter

from guerdon_plugins.verifiers.language.evidence import evidence
from guerdon_plugins.verifiers.language.scripts import LANGUAGES

CHANGE = 6.0
"""The cost of a change within a sentence."""

CHANGE_BETWEEN = 3.0
"""The cost of a change between two sentences."""

FOREIGN = 3.0
"""The extra cost of a change to an unexpected language, because few words are weak evidence against the expected
one.
"""

DOUBT = 2.0
"""The margin by which the best path must exceed the one that stays in the expected language.

Below it, the text is too short or too symbolic to decide.
"""

NAME = 0.5
"""The weight of a capitalised word inside a sentence, because names occur in texts of every language."""

WINDOW = 8
"""The number of consecutive words in which a language must be the most likely once to be one of the text's
languages.
"""


def count_languages(sentences: Sequence[Sequence[str]], script: str, expected: str) -> Counter[str]:
    """Return how many words are in which language.

    Args:
        sentences: Words in one script, sentence by sentence.
        script: Their script.
        expected: The language that the text should be in, one of the script's.
    """
    languages = LANGUAGES[script]
    if len(languages) == 1:
        return Counter({expected: sum(map(len, sentences))})
    said = [_evidence_of(sentence, script) for sentence in sentences]
    present = {languages.index(expected)}
    for rows in said:
        for start in range(0, len(rows), WINDOW):
            sums = list(map(fsum, zip(*rows[start : start + WINDOW], strict=True)))
            present.add(sums.index(max(sums)))
    if len(present) == 1:
        return Counter({expected: sum(map(len, sentences))})
    choose = itemgetter(*sorted(present))
    chosen = choose(languages)
    path = _likeliest_path([[choose(row) for row in rows] for rows in said], chosen.index(expected))
    return Counter(chosen[state] for state in path)


def _evidence_of(sentence: Sequence[str], script: str) -> list[tuple[float, ...]]:
    rows = [evidence(word.lower(), script) for word in sentence]
    for place, word in enumerate(sentence):
        if place and word[0].isupper() and not word.isupper():
            rows[place] = tuple(NAME * value for value in rows[place])
    return rows


def _likeliest_path(said: Sequence[Sequence[Sequence[float]]], expected: int) -> Iterator[int]:
    """Yield the state of each word, from the last to the first: a column of its evidence."""
    states = range(len(next(rows[0] for rows in said if rows)))
    surcharge = [FOREIGN * (state != expected) for state in states]
    totals = [-price for price in surcharge]
    # before each word: the best state so far, and which states change from it
    changes: list[tuple[int, list[bool]]] = []
    for rows in said:
        price = CHANGE_BETWEEN
        for row in rows:
            best = max(totals)
            entries = [best - price - extra for extra in surcharge]
            changing = [entry > total for entry, total in zip(entries, totals, strict=True)]
            changes.append((totals.index(best), changing))
            totals = [max(pair) + value for *pair, value in zip(entries, totals, row, strict=True)]
            price = CHANGE
    current = totals.index(max(totals))
    if max(totals) - fsum(row[expected] for rows in said for row in rows) < DOUBT:
        yield from [expected] * len(changes)
        return
    for best_before, changing in reversed(changes):
        yield current
        if changing[current]:
            current = best_before
