"""Check that a verifier gives different scores to different completions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.gold import THOUGHTS
from guerdon.preflight.trials import Case, Trials
from guerdon.rubric import Entry
from guerdon.types import Outcome, Row, message_text

_PROBED_ROWS = 4

_FEW = 4
"""Right answers that are tried before the probes."""

_PROBES = (
    "",
    "I do not know.",
    THOUGHTS,
    f"{THOUGHTS}\n\nThe answer is 1.",
    f"{THOUGHTS}\n<answer>1</answer>",
    "<think>首先，我们把这些数相加。然后检查结果。</think><answer>二</answer>",
    "```python\nprint(input())\n```",
    "again and again and again and again and again and again and again and again \\boxed{0}",
)
"""Completions that differ from each other."""

_WRITTEN = ("completion", "messages", "solution", "answer", "chosen", "rejected", "text")
"""Columns in which data sets keep answers and solutions that people wrote."""


def check_constant(
    site: Site, trials: Trials, entry: Entry, rows: Sequence[Row], known: Sequence[Case]
) -> Iterator[Finding]:
    """Warn of a verifier that gives every completion the same score.

    A 0 for all of them proves nothing, because the verifier may reward a property that none of them has. It is noted as
    not checked.

    Args:
        site: The entry's site.
        trials: Give the entry's scores.
        entry: The entry.
        rows: Sampled rows.
        known: Completions that hold the reference, in the forms of right answers.
    """
    probes = [(row, probe) for row in rows[:_PROBED_ROWS] for probe in _PROBES]
    # A slow verifier is tried on the first ones only: right answers, whose scores are known already, and probes.
    cases = [*known[:_FEW], *probes, *known[_FEW:], *_written(rows)]
    scores = trials.scores(entry, cases)
    values = {score.value for score in scores}
    if all(score.outcome is Outcome.FAILED for score in scores):
        last = scores[-1]
        yield site.error(
            f"it failed on every one of {len(scores)} completions, the last time: {last.failure}: {last.explanation}."
        )
    elif values == {0.0}:
        yield site.unchecked(
            f"whether it tells completions apart: it pays for none of {len(scores)} that were tried. A method "
            "gold_completion would say what it pays for."
        )
    elif len(values) == 1:
        yield site.finding(
            Level.WARNING,
            f"it gives {values.pop()} to every one of {len(scores)} very different completions, the empty one too. "
            "A constant reward teaches nothing.",
        )


def _written(rows: Sequence[Row]) -> list[Case]:
    """Return the rows with the texts of their own columns as completions."""
    return [
        (row, text) for row in rows for column in _WRITTEN if (text := _text(row.get(column))) is not None
    ]


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        return message_text(value[-1:])
    return None
