"""``overlap``: compare a text with reference texts by chrF, BLEU, ROUGE-L, or word or character error rate."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from guerdon import Failure, Score
from guerdon.data.references import accepted_answers, placeholder_reason
from guerdon.errors import library_of
from guerdon.text import Part, checked_tags, select_part, words
from guerdon_plugins.shared.visible import without_invisible

Metric: TypeAlias = Literal["chrf", "chrf++", "bleu", "rouge_l", "wer", "cer"]

MAX_CHARACTERS = 20_000
"""A longer text scores 0: the time of some metrics is quadratic."""


class Overlap:
    """Scores the overlap of a text with the reference, from 0 to 1; of several references, with the best one.

    chrF, chrF++ (Popović 2015, 2017) and sentence BLEU are sacrebleu's (arXiv 1804.08771), divided by 100. ROUGE-L is
    the F1 of the longest common subsequence of words (Lin 2004). ``wer`` and ``cer`` are 1 minus the error rate, at
    least 0. A character is a word in scripts without spaces.

    Overlap is not meaning: a wrong text that shares many words with the reference scores high.

    Args:
        metric: ``chrf``, ``chrf++``, ``bleu``, ``rouge_l``, ``wer`` or ``cer``.
        lowercase: Whether case does not count.
        punctuation: With ``rouge_l``, ``wer`` and ``cer``, whether punctuation counts.
        tokenize: sacrebleu's tokenizer for ``bleu``: ``13a``, ``intl``, ``zh``, ``char`` or ``none``.
        max_ratio: A text that is more than this many times as long as the longest reference scores 0, because
            repetitions and lists of guesses raise the overlap.
        part: The part to compare: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        MissingDependencyError: ``sacrebleu`` or ``rapidfuzz`` is not installed.
        ValueError: ``max_ratio`` is below 1.
    """

    audit_kind = "overlap"

    def __init__(
        self,
        metric: Metric = "chrf",
        lowercase: bool = False,
        punctuation: bool = False,
        tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a",
        max_ratio: float = 2.0,
        part: Part = "answer",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if max_ratio < 1:
            raise ValueError(f"max_ratio is {max_ratio}; give a number of at least 1")
        self._lowercase = lowercase
        self._punctuation = punctuation
        self._max_ratio = max_ratio
        self._part: Part = part
        self._tags = checked_tags(reasoning_tags)
        self._metric = metric
        self._sacrebleu = _sacrebleu(metric, lowercase, tokenize)

    def __call__(self, completion: str, reference: Any) -> Score:
        try:
            references = _texts(reference)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        text = without_invisible(select_part(completion, self._part, self._tags)).strip()
        longest = max(map(len, references))
        if len(text) > min(self._max_ratio * longest + 20, MAX_CHARACTERS):
            return Score(
                0.0, answer=text[:1000], explanation=f"{len(text)} characters, for {longest} of the reference"
            )
        if not text:
            return Score(0.0, explanation="the text is empty")
        return Score(min(max(self._measure(text, references), 0.0), 1.0), answer=text[:1000])

    def gold_completion(self, reference: Any) -> str | None:
        """Return the first reference, or ``None`` if it cannot be read."""
        try:
            return _texts(reference)[0]
        except ValueError:
            return None

    def _measure(self, text: str, references: Sequence[str]) -> float:
        if self._sacrebleu is not None:
            return float(self._sacrebleu.sentence_score(text, references).score) / 100
        compare = _rouge_l if self._metric == "rouge_l" else _accuracy
        return max(compare(self._units(text), self._units(reference)) for reference in references)

    def _units(self, text: str) -> list[str]:
        return list("".join(self._words(text))) if self._metric == "cer" else self._words(text)

    def _words(self, text: str) -> list[str]:
        return words(self._folded(text), symbols=self._punctuation)

    def _folded(self, text: str) -> str:
        normal = unicodedata.normalize("NFKC", text)
        return re.sub(r"\s+", " ", normal.casefold() if self._lowercase else normal)


def _texts(reference: Any) -> list[str]:
    """Return the reference texts.

    Raises:
        ValueError: They cannot be read.
    """
    reason = placeholder_reason(reference)
    if reason is not None:
        raise ValueError(f"the reference {reason}")
    texts = [without_invisible(text).strip() for text in accepted_answers(reference)]
    if not all(texts):
        raise ValueError("the reference has no visible text")
    if max(map(len, texts)) > MAX_CHARACTERS:
        raise ValueError(f"the reference has more than {MAX_CHARACTERS} characters")
    return texts


def _sacrebleu(metric: Metric, lowercase: bool, tokenize: str) -> Any:
    """Return sacrebleu's metric, or ``None`` for a metric of ours, whose library is there.

    Raises:
        MissingDependencyError: The metric's library is not installed.
    """
    if metric in ("rouge_l", "wer", "cer"):
        _distances()
        return None
    with library_of("verifier 'overlap'", extra="overlap"):
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    if metric == "bleu":
        return BLEU(lowercase=lowercase, tokenize=tokenize, effective_order=True)
    return CHRF(lowercase=lowercase, word_order=2 if metric == "chrf++" else 0)


def _distances() -> Any:
    with library_of("verifier 'overlap'", extra="overlap"):
        from rapidfuzz import distance
    return distance


def _rouge_l(ours: list[str], theirs: list[str]) -> float:
    shared = _distances().LCSseq.similarity(ours, theirs)
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def _accuracy(ours: list[str], theirs: list[str]) -> float:
    return 1 - _distances().Levenshtein.distance(ours, theirs) / len(theirs) if theirs else 0.0
