"""Convert a batch of judged rollouts into TRL's matrix of rewards and numbers for the metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from guerdon.types import Judgement, Outcome


def reward_row(judgement: Judgement, names: Sequence[str]) -> list[float]:
    """Return the judgement as a row of TRL's reward matrix: a value for each name, NaN where there is none.

    If a row has only NaN, TRL leaves the rollout out of the advantages and the loss.
    """
    if judgement.reward is None:
        return [math.nan] * len(names)
    row = []
    for name in names:
        verdict = judgement.verdicts.get(name)
        # Use the raw value if there is one, because TRL logs it. A counted failure has no raw value.
        value = None if verdict is None else verdict.score.value
        if verdict is not None and value is None:
            value = verdict.counted
        row.append(math.nan if value is None else value)
    return row


def judging_metrics(judgements: Sequence[Judgement]) -> Iterator[tuple[str, float]]:
    """Yield one number per rollout and metric. Their means are the shares and times to log."""
    for judgement in judgements:
        yield "unscored_rate", float(judgement.reward is None)
        for name, verdict in judgement.verdicts.items():
            yield f"rewards/{name}/failure_rate", float(verdict.score.outcome is Outcome.FAILED)
            yield f"rewards/{name}/skip_rate", float(verdict.score.outcome is Outcome.SKIPPED)
            yield f"rewards/{name}/latency_ms", verdict.latency_ms


def group_metrics(rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Return the means over the groups of each group's best and worst reward.

    Args:
        rewards: One for each rollout, with each group's in sequence; NaN where there is none.
        group_size: Rollouts in a group.
    """
    groups = [
        [reward for reward in rewards[start : start + group_size] if not math.isnan(reward)]
        for start in range(0, len(rewards), group_size)
    ]
    groups = [group for group in groups if group]
    if not groups:
        return {}
    return {
        "groups/best_reward": math.fsum(map(max, groups)) / len(groups),
        "groups/worst_reward": math.fsum(map(min, groups)) / len(groups),
    }
