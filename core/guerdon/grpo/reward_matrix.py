"""What the engine makes of a batch of judged rollouts: TRL's matrix of rewards, and numbers for the metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from guerdon.types import Judgement, Outcome


def reward_row(judgement: Judgement, names: Sequence[str]) -> list[float]:
    """The judgement as a row of TRL's reward matrix: a value for each name, NaN where there is none.

    A row of nothing but NaN makes TRL leave the rollout out of the advantages and the loss.
    """
    if judgement.reward is None:
        return [math.nan] * len(names)
    row = []
    for name in names:
        verdict = judgement.verdicts.get(name)
        # The raw value where there is one, because TRL logs it; what a failure counts has no other.
        value = None if verdict is None else verdict.score.value
        if verdict is not None and value is None:
            value = verdict.counted
        row.append(math.nan if value is None else value)
    return row


def judging_metrics(judgements: Sequence[Judgement]) -> Iterator[tuple[str, float]]:
    """One number per rollout and metric, whose means are the shares and times to log."""
    for judgement in judgements:
        yield "unscored_rate", float(judgement.reward is None)
        for name, verdict in judgement.verdicts.items():
            yield f"rewards/{name}/failure_rate", float(verdict.score.outcome is Outcome.FAILED)
            yield f"rewards/{name}/skip_rate", float(verdict.score.outcome is Outcome.SKIPPED)
            yield f"rewards/{name}/latency_ms", verdict.latency_ms


def group_metrics(rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """How far apart a group's rollouts are: the means over the groups of each one's best and worst reward.

    Args:
        rewards: One for each rollout, a group's side by side; NaN where there is none.
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
