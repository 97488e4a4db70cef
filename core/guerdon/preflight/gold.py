"""Check that the reference itself, as an answer, scores 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from guerdon.plugins.component import Component
from guerdon.plugins.gold import gold_completion
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.trials import Case, Trials
from guerdon.rubric import Entry
from guerdon.types import Outcome, Row, Score

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
"""Forms of a completion in which verifiers look for an answer."""


def gold_cases(component: Component, built: Any, rows: Sequence[Row]) -> list[Case]:
    """Return rows, each with completions of which one should score 1.

    A verifier defines a right completion by ``gold_completion(reference)``, which returns ``None`` if it knows none.
    For
    other verifiers, the forms that most verifiers read are tried.
    """
    if component.member("gold_completion", of=built) is None:
        return guessed_cases(rows)
    golds = [
        (row, gold_completion(component, built, row["reference"]))
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


def check_gold(
    site: Site, trials: Trials, entry: Entry, gold: Sequence[Case], certain: bool
) -> Iterator[Finding]:
    """Check that for each reference one of its completions scores 1.

    The check is strict only for verifiers with ``gold_completion``. For another one, all tried forms may be wrong. A
    reference that it cannot read is always an error.

    Args:
        site: The entry's site.
        trials: Give the entry's scores.
        entry: The entry.
        gold: Rows with completions.
        certain: Whether the completions come from the verifier itself.
    """
    best: dict[str, Score] = {}
    for (row, _), score in zip(gold, trials.scores(entry, gold), strict=False):
        known = best.get(repr(row["reference"]))
        if known is None or _rank(score) > _rank(known):
            best[repr(row["reference"])] = score
    if certain:
        bad = {key: score for key, score in best.items() if score.value is None or score.value < 1.0}
    else:
        bad = {key: score for key, score in best.items() if score.outcome is Outcome.FAILED}
        if len(bad) == len(best):  # the check of constants reports this
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
    """Return a score's sort key: failures first, then skips, then values."""
    if score.value is not None:
        return score.value
    return float("-inf") if score.outcome is Outcome.FAILED else -1e300
