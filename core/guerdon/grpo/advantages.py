"""Advantages that TRL does not compute: of a score's parts, each normalized by itself, and of the steps of completions.

The normalization is TRL's: the standard deviation has Bessel's correction, and 1e-4 is added to it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from guerdon.types import Judgement

__all__ = [
    "Step",
    "objectives",
    "objectives_advantages",
    "parts_of",
    "process_advantages",
    "steps_of",
    "token_of",
]

EPSILON = 1e-4
"""TRL's addition to a standard deviation."""

Step = tuple[int, float]
"""The index of a step's last token in its completion, and the step's reward."""


def parts_of(judgements: Sequence[Judgement]) -> set[tuple[str, str]]:
    """Return the parts that scores name: pairs of an entry's and a part's name."""
    return {
        (name, part)
        for judgement in judgements
        for name, verdict in judgement.verdicts.items()
        for part in verdict.score.parts
    }


def objectives(judgement: Judgement, names: Sequence[str], parts: Sequence[tuple[str, str]]) -> list[float]:
    """Return a rollout's value of each objective: of entries without parts, and of the parts of the others.

    A part that a score does not name is 0. An entry without a verdict has NaN.

    Args:
        judgement: The rollout's judgement; without a reward, all values are NaN.
        names: The entries' names.
        parts: The parts of all rollouts of the batch, as ``parts_of`` returns them, in one order.
    """
    row = []
    split = {name for name, _ in parts}
    for name, part in [*((name, None) for name in names if name not in split), *parts]:
        verdict = judgement.verdicts.get(name)
        value = None
        if judgement.reward is not None and verdict is not None:
            value = verdict.score.value if verdict.score.value is not None else verdict.counted
            if part is not None and value is not None:
                value = verdict.score.parts.get(part, 0.0)
        row.append(math.nan if value is None else value)
    return row


def objectives_advantages(values: Tensor, weights: Tensor, group_size: int) -> Tensor:
    """Return the advantages of GDPO: each objective normalized in its group, summed by weight, normalized again.

    This is TRL's ``multi_objective_aggregation: normalize_then_sum`` (GDPO, arXiv 2601.05242, equations 4 to 6).

    Args:
        values: One row a rollout, one column an objective; NaN where there is none. A group's rows follow each other.
        weights: Each objective's weight.
        group_size: Rollouts in a group.

    Returns:
        One advantage for each rollout; 0 for one without any value.
    """
    unscored = values.isnan().all(1)
    grouped = values.view(-1, group_size, values.shape[1])
    mean = grouped.nanmean(1, keepdim=True)
    normalized = ((grouped - mean) / (_std(grouped, 1) + EPSILON)).view_as(values)
    rewards = (normalized * weights.to(values)).nansum(1).masked_fill(unscored, math.nan)
    std = _std(rewards, 0) if len(rewards) > 1 else torch.zeros(())
    return ((rewards - rewards.nanmean()) / (std + EPSILON)).nan_to_num(0.0)


def token_of(end: int, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> int:
    """Return the index of the token that completes the text up to a place; at the text's end, of the last token.

    The last token may be one without text, such as the end of the sequence. It belongs to the last step.

    Args:
        end: The number of characters.
        ids: The completion's tokens.
        decode: Returns the text of tokens.
    """
    if end >= len(decode(ids)):
        return len(ids) - 1
    return max(0, bisect_left(range(len(ids)), end, key=lambda count: len(decode(ids[:count]))) - 1)


def steps_of(judgement: Judgement, length: int, token_at: Callable[[int], int]) -> list[Step]:
    """Return a rollout's steps: weighted values of spans, and one step at the end for what has no spans.

    Args:
        judgement: The rollout's judgement. Without a reward, there are no steps.
        length: The number of the completion's tokens.
        token_at: Returns the index of the last token of a text that ends at a place.
    """
    if judgement.reward is None or length == 0:
        return []
    steps: list[Step] = []
    at_end = []
    for verdict in judgement.verdicts.values():
        if verdict.counted is None:
            continue
        if verdict.score.spans:
            steps += [(token_at(span.end), verdict.weight * span.value) for span in verdict.score.spans]
        else:
            at_end.append(verdict.counted)
    if at_end:
        steps.append((length - 1, math.fsum(at_end)))
    return steps


def process_advantages(
    steps: Sequence[Sequence[Step]], group_size: int, length: int, scale: str = "group"
) -> Tensor:
    """Return the advantages of process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3).

    Each step's reward is normalized over all steps of the group. A token's advantage is the sum over the steps that
    end at or after it.

    Args:
        steps: The steps of each rollout; none for one without a reward. A group's rollouts follow each other.
        group_size: Rollouts in a group.
        length: The number of columns: tokens of the longest completion.
        scale: TRL's ``scale_rewards``: the standard deviation of the ``group``, of the ``batch``, or ``none``.

    Returns:
        The advantages [rollouts, length]; exactly 0 where all steps of a group have one reward.
    """
    result = torch.zeros(len(steps), length)
    every = [reward for one in steps for _, reward in one]
    for start in range(0, len(steps), group_size):
        group = steps[start : start + group_size]
        rewards = [reward for one in group for _, reward in one]
        if not rewards or min(rewards) == max(rewards):
            continue
        mean = math.fsum(rewards) / len(rewards)
        spread = 1.0 if scale == "none" else _deviation(every if scale == "batch" else rewards) + EPSILON
        for row, one in enumerate(group, start=start):
            added = [0.0] * length
            for end, reward in one:
                added[end] += (reward - mean) / spread
            result[row] = torch.tensor([*accumulate(reversed(added))][::-1])
    return result


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _std(values: Tensor, dim: int) -> Tensor:
    """Return the standard deviation without NaNs, as TRL computes it: NaN where there are fewer than two values."""
    mean = values.nanmean(dim, keepdim=True)
    count = (~values.isnan()).sum(dim, keepdim=True)
    variance = ((values - mean) ** 2).nanmean(dim, keepdim=True) * count / (count - 1)
    return variance.where(count > 1, math.nan).sqrt()
