"""Convert a batch of judged rollouts into TRL's matrix of rewards and numbers for the metrics."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

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


def judging_metrics(
    judgements: Sequence[Judgement], retrying: Collection[str] = ()
) -> Iterator[tuple[str, float]]:
    """Yield one number per rollout and metric. Their means are the shares, times and amounts to log.

    Args:
        judgements: The judgements.
        retrying: The entries whose failures are retried.
    """
    consuming: dict[str, dict[str, None]] = {}
    for judgement in judgements:
        for name, verdict in judgement.verdicts.items():
            consuming.setdefault(name, {}).update(dict.fromkeys(verdict.score.usage))
    for judgement in judgements:
        yield "unscored_rate", float(judgement.reward is None)
        for name, verdict in judgement.verdicts.items():
            yield f"rewards/{name}/failure_rate", float(verdict.score.outcome is Outcome.FAILED)
            yield f"rewards/{name}/skip_rate", float(verdict.score.outcome is Outcome.SKIPPED)
            yield f"rewards/{name}/latency_ms", verdict.latency_ms
            for part, value in verdict.score.parts.items():
                yield f"rewards/{name}/parts/{part}", value
            for what in consuming[name]:
                yield f"rewards/{name}/usage/{what}", verdict.score.usage.get(what, 0.0)
            if name in retrying:
                yield f"rewards/{name}/retry_rate", float(verdict.tries > 1)
                yield f"rewards/{name}/saved_rate", float(verdict.saved)


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


def by_column(
    columns: Sequence[Mapping[str, object]], judgements: Sequence[Judgement], wanted: Sequence[str]
) -> list[tuple[str, float]]:
    """Return numbers by the value of a column, such as ``task=code/reward``. Their means are the metrics to log.

    Args:
        columns: Each rollout's columns.
        judgements: Each rollout's judgement.
        wanted: The columns to break the metrics down by.
    """
    found = []
    for row, judgement in zip(columns, judgements, strict=True):
        for column in wanted:
            group = f"{column}={row.get(column)}"
            found.append((f"{group}/unscored_rate", float(judgement.reward is None)))
            if judgement.reward is not None:
                found.append((f"{group}/reward", judgement.reward))
            for name, verdict in judgement.verdicts.items():
                if verdict.score.value is not None:
                    found.append((f"{group}/rewards/{name}/mean", verdict.score.value))
    return found
