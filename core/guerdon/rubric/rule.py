"""The rule of ``needs`` and ``first_of``: what the verdicts of some entries make of another entry's verdict.

``guerdon.types.total_reward`` then makes the reward of all verdicts. ``docs/explanation/scores.md`` has the truth
tables of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from guerdon.types import OnFailure, Outcome, Score, Verdict

__all__ = ["FULL_VALUE", "decided", "is_full", "unmet"]

FULL_VALUE = 1.0
"""The value from which a verdict meets a need, and decides a ``first_of`` at once."""

_ROUNDING = 1e-9


def is_full(verdict: Verdict | None) -> bool:
    """Return whether a verdict has the full value, 1 or more."""
    value = None if verdict is None else verdict.score.value
    return value is not None and value >= FULL_VALUE - _ROUNDING


def unmet(needs: Sequence[str], verdicts: Mapping[str, Verdict]) -> Score | None:
    """Return the score of an entry that is not asked, because it needs other entries' full value.

    One need below its full value makes it 0, whatever the others are. Otherwise one that was skipped skips it, and
    otherwise one that failed makes it fail.

    Args:
        needs: The names of the entries that it needs.
        verdicts: The rollout's verdicts so far. An entry that the rollout is not routed to has none, as if it skipped.

    Returns:
        ``None`` if all needs are met.
    """
    low, skipped, failed = [], [], []
    for name in needs:
        verdict = verdicts.get(name)
        if is_full(verdict):
            continue
        if verdict is None or verdict.score.outcome is Outcome.SKIPPED:
            skipped.append(name)
        elif verdict.score.value is not None or verdict.on_failure is OnFailure.ZERO:
            low.append(name)
        else:
            failed.append((name, verdict.score))
    if low:
        value = verdicts[low[0]].score.value
        said = "failed and counts as 0" if value is None else f"scored {value:g}"
        return Score(0.0, explanation=f"not asked: it needs '{low[0]}', which {said}")
    if skipped:
        return Score.skipped(f"not asked: it needs '{skipped[0]}', which did not judge the completion")
    if failed:
        name, score = failed[0]
        assert score.failure is not None
        return Score.failed(score.failure, f"not asked: it needs '{name}', which failed: {score.explanation}")
    return None


def decided(asked: Mapping[str, Verdict]) -> Score:
    """Return the score of a ``first_of``: that of the last member that was asked and did not skip.

    Each member is asked only where none before it gave the full value. So a later opinion replaces an earlier one, a
    failure before an opinion costs nothing, and a failure without a later opinion makes the whole fail.

    Args:
        asked: The verdicts of the members that were asked, in order.
    """
    for name, verdict in reversed(list(asked.items())):
        score = verdict.score
        if score.outcome is Outcome.SKIPPED:
            continue
        if score.outcome is Outcome.FAILED and verdict.on_failure is OnFailure.ZERO:
            score = Score(0.0, explanation=f"failed and counts as 0: {score.explanation}")
        # The members' own verdicts count what they consumed.
        return replace(score, metadata={**score.metadata, "decided_by": name}, usage={})
    return Score.skipped("no member judged the completion")
