"""The verifier plugin: a completion and a reference in, a score with its evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from guerdon import Failure, Row, Score
from guerdon.text import checked_tags
from guerdon_plugins.shared.hints import Hint, place_hint
from guerdon_plugins.verifiers.math.policy import Policy
from guerdon_plugins.verifiers.math.reading.extraction import Mode, check_mode, extract
from guerdon_plugins.verifiers.math.references import Reference, gold_text
from guerdon_plugins.verifiers.math.verdict import (
    MathOutcome,
    MathVerdict,
    compare,
    compare_reading,
    compare_texts,
    read_reference,
    reference_text,
    shortened,
)


class MathVerifier:
    r"""Checks the final answer of a completion against a gold answer, mathematically.

    Args:
        extraction: The place of the answer: the last ``\boxed`` (``boxed``), the last ``<answer>`` element
            (``answer``), after the last ``####`` (``hashes``), a line "Answer: …" (``line``), what the last sentence
            states (``end``), the whole completion (``whole``), or the first of the first five that is there (``auto``).
            Only the text after the reasoning counts; reasoning that never ends has no answer.
        decimal_tolerance: Largest relative error of a decimal; 0 takes decimals as exact.
        percent: Whether ``25\%`` is 0.25 only (``exact``), or also 25 (``optional``).
        units: Units, where both sides have one, are converted (``convert``: 2 hours is 120 minutes), must be the
            same (``compare``), or do not count (``ignore``).
        plus_c: Accept an antiderivative without the reference's ``+ C``.
        unevaluated: Accept finite sums, products and determinants that are not evaluated.
        calculations: Accept ``12 + 30`` for 42. Refused by default, since a question that holds its own calculation
            would be answered by copying it.
        reasoning_tags: The tags around reasoning; by default ``guerdon.text.REASONING_TAGS``.

    Raises:
        ValueError: A param is out of range.
    """

    audit_kind = "math"

    def __init__(
        self,
        extraction: Mode = "boxed",
        decimal_tolerance: float = 0.0,
        percent: Literal["exact", "optional"] = "exact",
        units: Literal["compare", "convert", "ignore"] = "convert",
        plus_c: bool = False,
        unevaluated: bool = False,
        calculations: bool = False,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        check_mode(extraction)
        self.reasoning_tags = checked_tags(reasoning_tags)
        self.extraction: Mode = extraction
        self.policy = Policy(decimal_tolerance, percent, units, plus_c, unevaluated, calculations)

    def __call__(self, completion: str, reference: Reference) -> Score:
        """Score a completion: 1.0 for a correct answer, else 0.0; failed if the reference cannot be read."""
        verdict = self.judge(completion, reference)
        if verdict.outcome is MathOutcome.UNPARSEABLE_REFERENCE:
            return Score.failed(Failure.REFERENCE, verdict.reason)
        metadata = {"outcome": verdict.outcome.value, "tier": verdict.tier}
        if verdict.witness:
            metadata["witness"] = verdict.witness
        return Score(
            float(bool(verdict)), answer=verdict.answer, explanation=verdict.reason, metadata=metadata
        )

    def gold_completion(self, reference: Reference) -> str:
        """Return the reference as a completion that gives it for its answer, for the identity test of a data set."""
        try:
            text = reference_text(reference)
        except TypeError as error:  # judging it says what is wrong with it
            text = str(error)
        forms = {
            "answer": f"<answer>{text}</answer>",
            "hashes": f"#### {text}",
            "line": f"Answer: {text}",
            "end": f"The answer is {text}",
            "whole": text,
        }
        return forms.get(self.extraction, f"\\boxed{{{text}}}")

    def prompt_hint(self, row: Row) -> Hint:
        """Return the mark of the answer, which the prompt must ask for."""
        return place_hint(self.extraction)

    def same_answer(self, first: str, second: str) -> bool:
        """Return whether two answers, as scores give them, say the same: ``1/2`` and ``0.5``; ``B. 12`` and ``B``."""
        return bool(compare(first, second, self.policy) or compare(second, first, self.policy))

    def judge(self, completion: str, reference: Reference) -> MathVerdict:
        """Return the verdict on a completion, with its reason, the deciding step and a witness."""
        try:
            gold = read_reference(reference)
        except TypeError as error:
            return MathVerdict(MathOutcome.UNPARSEABLE_REFERENCE, str(error))
        if gold.node is None:
            return gold.unreadable
        found = extract(completion, self.extraction, self.reasoning_tags)
        if found.answer is None:
            return MathVerdict(
                MathOutcome.NO_ANSWER, found.problem, "extraction", reference=shortened(gold.text)
            )
        if type(reference) is str:
            return compare_texts(found.answer, gold_text(reference).strip(), self.policy)
        return compare_reading(found.answer, gold, self.policy)


@dataclass(frozen=True, slots=True)
class ReferenceProblem:
    """A reference of a data set that no completion could be judged against."""

    index: int
    """The row's place in the data set, from 0."""
    reference: str
    reason: str


def check_references(
    references: Iterable[Reference], verifier: MathVerifier | None = None
) -> list[ReferenceProblem]:
    """Return the identity test over a data set: each gold answer, boxed, must be correct against itself.

    Returns:
        The references that fail, with the reason; empty if the data set is sound.
    """
    verifier = verifier or MathVerifier()
    problems = []
    for index, reference in enumerate(references):
        try:
            text = reference_text(reference)
        except TypeError as error:
            problems.append(ReferenceProblem(index, repr(reference)[:200], str(error)))
            continue
        verdict = verifier.judge(verifier.gold_completion(reference), reference)
        if not verdict:
            problems.append(ReferenceProblem(index, text[:200], verdict.reason))
    return problems
