"""Checks that the reference itself, given as an answer, scores 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from guerdon.errors import PluginContractError
from guerdon.plugins.boundary import boundary
from guerdon.plugins.component import Component
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.rubric import Entry, Rubric
from guerdon.types import Outcome, Rollout, Row, Score

THOUGHTS = "<think>\nFirst, we add the numbers. Second, we check the sum. Wait, that is right.\n</think>"

_FORMS = (
    "{answer}",
    "\\boxed{answer}",
    "The answer is {answer}.",
    "We check the sum.\n{answer}",
    "#### {answer}",
    "<think>.</think><answer>{answer}</answer>",
    f"{THOUGHTS}\n\n{{answer}}",
)
"""Where verifiers look for an answer."""

Case = tuple[Row, str]
"""A row and a completion."""


def gold_cases(component: Component, built: Any, rows: Sequence[Row]) -> list[Case]:
    """Return rows, each with completions of which one should score 1.

    A verifier says by ``gold_completion(reference)`` what a right completion looks like (``None`` if it cannot tell);
    for others the forms that most verifiers read are tried.
    """
    if component.member("gold_completion", of=built) is None:
        return guessed_cases(rows)
    golds = [
        (row, _own_gold(component, built, row["reference"]))
        for row in rows
        if row.get("reference") is not None
    ]
    return [(row, gold) for row, gold in golds if gold is not None]


def guessed_cases(rows: Sequence[Row]) -> list[Case]:
    """Return rows with their references in the forms that most verifiers read."""
    return [
        (
            row,
            form.replace("{answer}", f"{{{row['reference']}}}" if "boxed" in form else str(row["reference"])),
        )
        for row in rows
        if isinstance(row.get("reference"), str | int | float)
        for form in _FORMS
    ]


def _own_gold(component: Component, built: Any, reference: Any) -> str | None:
    with boundary(
        f"the gold_completion of {component.plugin}, for the reference {reference!r:.80}, raised",
        fix="Return None where no right completion is known.",
    ):
        gold = component.member("gold_completion", of=built)(reference)
    if not isinstance(gold, str | None):
        raise PluginContractError(
            f"the gold_completion of {component.plugin} returned {gold!r:.80} for the reference {reference!r:.80}. "
            "Return the text of a right completion, or None where none is known."
        )
    return gold


def check_gold(
    site: Site, rubric: Rubric, entry: Entry, gold: Sequence[Case], certain: bool
) -> Iterator[Finding]:
    """Check that of each reference's completions one scores 1.

    Only a verifier that says itself what a right completion looks like is held to it. Of another one the tried forms
    may all be wrong; what it cannot read is an error in any form.

    Args:
        site: The entry's.
        rubric: One with the entry.
        entry: The entry.
        gold: Rows with completions.
        certain: Whether the completions are the verifier's own.
    """
    best: dict[str, Score] = {}
    for (row, _), score in zip(gold, scores_of(rubric, entry, gold), strict=True):
        known = best.get(repr(row["reference"]))
        if known is None or _rank(score) > _rank(known):
            best[repr(row["reference"])] = score
    if certain:
        bad = {key: score for key, score in best.items() if score.value is None or score.value < 1.0}
    else:
        bad = {key: score for key, score in best.items() if score.outcome is Outcome.FAILED}
        if len(bad) == len(best):  # told by the check of constants
            return
    if bad:
        reference, score = next(iter(bad.items()))
        verdict = score.value if score.outcome is Outcome.SCORED else score.failure or score.outcome
        yield site.finding(
            Level.ERROR,
            f"{len(bad)} of {len(best)} sampled references do not score 1 as an answer to themselves, such as "
            f"{reference[:80]}: {verdict}{f' ({score.explanation})' if score.explanation else ''}.",
        )


def _rank(score: Score) -> float:
    """Order scores: a failure is the least, then a skip, then the values."""
    if score.value is not None:
        return score.value
    return float("-inf") if score.outcome is Outcome.FAILED else -1e300


def scores_of(rubric: Rubric, entry: Entry, cases: Sequence[Case]) -> list[Score]:
    """Return an entry's scores of some completions."""
    rollouts = [
        Rollout(row.get("prompt", ""), text, {key: value for key, value in row.items() if key != "prompt"})
        for row, text in cases
    ]
    return [judgement.verdicts[entry.name].score for judgement in rubric.score(rollouts, names=[entry.name])]
