"""The verifier: a completion and accepted answers in, a score out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Literal

from guerdon import Failure, Row, Score
from guerdon.text import checked_tags
from guerdon_plugins.shared.final_answer import FORMS, Place, check_place, final_answer, without_markup
from guerdon_plugins.shared.hints import Hint, place_hint
from guerdon_plugins.verifiers.qa.comparing import Reading, equal, f1
from guerdon_plugins.verifiers.qa.references import read

MAX_CHARACTERS = 10_000
"""A longer answer is not a short answer, so it is wrong."""

_SHOWN = 200
"""The most characters of the accepted answers in an explanation."""

_MAX_SPANS = 64


class QuestionAnswer:
    """Scores a short answer against the accepted ones, by equality or by the F1 of shared words.

    Case, punctuation and articles do not count (SQuAD, arXiv 1606.05250; MLQA, arXiv 1910.07475). Two numbers are equal
    by value, two dates by day, so ``1,000`` is ``1000`` and ``5 March 2024`` is ``2024-03-05``.

    Args:
        metric: ``exact``, 1 for an equal answer; or ``f1``, the best F1 over the accepted answers. F1 pays for a list
            of guesses.
        extraction: The place of the answer, as in ``math``: ``boxed``, ``answer`` (in ``<answer>`` tags), ``hashes``,
            ``line`` ("Answer: …"), ``whole``, or ``auto``, the first that is there.
        language: The ISO 639 code of the answers' language, for articles, numbers and dates; by default the row's
            column ``language``, else ``en``.
        no_answer: The phrases that are right where the row's list of answers is empty, as in SQuAD 2.0; without them
            such a row fails.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
    """

    audit_kind = "answer"

    def __init__(
        self,
        metric: Literal["exact", "f1"] = "exact",
        extraction: Place = "auto",
        language: str | None = None,
        no_answer: Sequence[str] = (),
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        check_place(extraction)
        if metric not in ("exact", "f1"):
            raise ValueError(f"metric is {metric!r}; give exact or f1")
        self._compare: Callable[[Reading, Reading], float] = f1 if metric == "f1" else equal
        self._place: Place = extraction
        self._language = language
        self._no_answer = tuple(no_answer)
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str, reference: Any, language: str | None = None) -> Score:
        try:
            gold = read(reference, self._no_answer)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        found = final_answer(completion, self._place, self._tags)
        if found.text is None:
            return Score(0.0, explanation=found.problem)
        if len(found.text) > MAX_CHARACTERS:
            return Score(0.0, explanation=f"the answer has {len(found.text)} characters")
        code = _code(self._language or language)
        answer = without_markup(found.text)
        whole = Reading(answer, code)
        value = max(
            float(self._compare(whole, Reading(spans[0], code)))
            if len(spans) == 1
            else self._value_of_spans(answer, spans, code)
            for spans in gold.alternatives
        )
        if value == 1:
            return Score(value, answer=found.text[:1000])
        nearest = " or ".join("; ".join(spans) for spans in gold.alternatives)
        return Score(value, answer=found.text[:1000], explanation=f"accepted is {nearest[:_SHOWN]}")

    def gold_completion(self, reference: Any) -> str | None:
        """Return a completion with the first accepted answer, or ``None`` for a reference that cannot be read."""
        try:
            gold = read(reference, self._no_answer)
        except ValueError:
            return None
        return FORMS[self._place].format("; ".join(gold.alternatives[0]))

    def prompt_hint(self, row: Row) -> Hint:
        """Return the mark of the answer, which the prompt must ask for."""
        return place_hint(self._place)

    def same_answer(self, first: str, second: str) -> bool:
        """Return whether two answers are the same number, date or text."""
        language = _code(self._language)
        return equal(Reading(first, language), Reading(second, language))

    def _value_of_spans(self, answer: str, spans: Sequence[str], language: str) -> float:
        parts = _split(answer)
        if len(parts) > _MAX_SPANS or len(spans) > _MAX_SPANS:
            return 0.0
        ours, theirs = ([Reading(text, language) for text in texts] for texts in (parts, spans))
        value = _aligned(ours, theirs, self._compare)
        return value if self._compare is f1 else float(value == 1.0)


def _code(language: str | None) -> str:
    return (language or "en").lower().partition("-")[0]


def _split(answer: str) -> list[str]:
    """Return the items of a list of answers: by semicolons or lines, else by commas and "and"."""
    by_lines = [part for part in re.split(r"[;；\n]", answer) if part.strip()]
    if len(by_lines) > 1:
        return by_lines
    return [
        part for part in re.split(r"[,，、]|\b(?:and|und|et|y|e|en|и)\b|和|と|및", answer) if part.strip()
    ]


def _aligned(
    parts: Sequence[Reading], spans: Sequence[Reading], value: Callable[[Reading, Reading], float]
) -> float:
    """Return the sum of the best one-to-one pairs, over the larger count, as DROP does (arXiv 1903.00161).

    Pairs are taken greedily by value.
    """
    pairs = sorted(
        ((value(part, span), i, j) for (i, part), (j, span) in product(enumerate(parts), enumerate(spans))),
        key=lambda pair: -pair[0],
    )
    used_parts: set[int] = set()
    used_spans: set[int] = set()
    total = 0.0
    for worth, part, span in pairs:
        if worth and part not in used_parts and span not in used_spans:
            used_parts.add(part)
            used_spans.add(span)
            total += worth
    return total / max(len(parts), len(spans))
