"""Advantages of steps and of parts, against their formulas by brute force and against TRL's code."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Score
from guerdon.grpo.advantages import (
    EPSILON,
    Step,
    objectives,
    objectives_advantages,
    parts_of,
    process_advantages,
    steps_of,
    token_of,
)
from guerdon.types import Judgement, Span, Verdict

LENGTH = 6
VALUES = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])
STEPS = st.lists(st.tuples(st.integers(0, LENGTH - 1), VALUES), max_size=4)


def brute_force(group: Sequence[Sequence[Step]], row: int, token: int) -> float:
    """DeepSeekMath, 4.1.3: the sum over j with index(j) >= t of (r - mean(R)) / std(R)."""
    rewards = [reward for one in group for _, reward in one]
    mean, std = statistics.fmean(rewards), statistics.stdev(rewards)
    return math.fsum((reward - mean) / (std + EPSILON) for end, reward in group[row] if end >= token)


@given(st.lists(STEPS, min_size=4, max_size=4))
def test_process_advantages_are_those_of_the_formula(steps: list[list[Step]]) -> None:
    found = process_advantages(steps, 2, LENGTH)
    for start in (0, 2):
        group = steps[start : start + 2]
        rewards = [reward for one in group for _, reward in one]
        for row in (0, 1):
            for token in range(LENGTH):
                constant = not rewards or min(rewards) == max(rewards)
                expected = 0.0 if constant else brute_force(group, row, token)
                assert found[start + row, token].item() == pytest.approx(expected, abs=1e-5)
                assert not constant or found[start + row, token] == 0


@given(st.lists(VALUES, min_size=4, max_size=4), st.sampled_from(["group", "batch", "none"]))
def test_process_advantages_of_one_step_at_the_end_are_those_of_outcome_supervision(
    rewards: list[float], scale: str
) -> None:
    found = process_advantages([[(LENGTH - 1, reward)] for reward in rewards], 2, LENGTH, scale)
    values = torch.tensor(rewards)
    mean = values.view(-1, 2).mean(1).repeat_interleave(2)
    std = values.view(-1, 2).std(1).repeat_interleave(2) if scale == "group" else values.std().expand(4)
    expected = values - mean if scale == "none" else (values - mean) / (std + EPSILON)
    torch.testing.assert_close(found, expected[:, None].expand(4, LENGTH), atol=1e-5, rtol=1e-5)


def test_process_advantages_of_a_rollout_without_a_reward_are_zero() -> None:
    found = process_advantages([[], [(0, 1.0), (2, 0.0)]], 2, 3)
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].tolist() == pytest.approx([0, -0.7070, -0.7070], abs=1e-3)


def judgement(**scores: Score) -> Judgement:
    return Judgement.of({name: Verdict(score, 2.0, 0.0) for name, score in scores.items()})


def test_steps_of_spans_and_of_scores_without_spans() -> None:
    one = judgement(
        prm=Score(0.5, spans=[Span(0, 3, 1.0), Span(3, 7, 0.0)]), math=Score(1.0), short=Score(0.5)
    )
    assert steps_of(one, 5, lambda end: end // 2) == [(1, 2.0), (3, 0.0), (4, 3.0)]
    failed = judgement(prm=Score(0.5, spans=[Span(0, 3, 1.0)]), math=Score.failed("timeout", "late"))
    assert steps_of(failed, 5, lambda end: end) == []


@given(st.lists(st.sampled_from(["a", "bc", "déf", "", "  "]), min_size=1, max_size=8), st.data())
def test_token_of_is_the_token_that_completes_the_text(tokens: list[str], data: st.DataObject) -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join(tokens[i] for i in ids)

    text = "".join(tokens)
    end = data.draw(st.integers(1, max(1, len(text))))
    token = token_of(end, range(len(tokens)), decode)
    if end >= len(text):
        assert token == len(tokens) - 1
    else:
        assert len(decode(range(token + 1))) >= end > len(decode(range(token)))


def test_parts_become_objectives_of_their_own() -> None:
    judgements = [
        judgement(a=Score(0.5, parts={"x": 1.0, "y": 0.0}), b=Score(1.0)),
        judgement(a=Score(0.0), b=Score.skipped()),
        judgement(a=Score.failed("timeout", "late"), b=Score(1.0)),
    ]
    parts = sorted(parts_of(judgements))
    assert parts == [("a", "x"), ("a", "y")]
    rows = [objectives(one, ["a", "b"], parts) for one in judgements]
    assert rows[0] == [1.0, 1.0, 0.0]
    assert math.isnan(rows[1][0])
    assert rows[1][1:] == [0.0, 0.0]
    assert all(map(math.isnan, rows[2]))


@given(
    st.lists(st.lists(st.one_of(VALUES, st.just(math.nan)), min_size=2, max_size=2), min_size=6, max_size=6)
)
def test_objectives_advantages_are_those_of_trl(rows: list[list[float]]) -> None:
    from trl.trainer.utils import nanstd

    values, weights = torch.tensor(rows), torch.tensor([1.0, 0.5])
    # trl/trainer/grpo_trainer.py, "normalize_then_sum"
    grouped = values.view(-1, 3, 2)
    reward_k = (grouped - torch.nanmean(grouped, dim=1, keepdim=True)) / (nanstd(grouped, 1, True) + 1e-4)
    rewards = (reward_k.view(-1, 2) * weights).nansum(dim=1)
    rewards[values.isnan().all(1)] = torch.nan
    expected = torch.nan_to_num((rewards - torch.nanmean(rewards)) / (nanstd(rewards) + 1e-4), nan=0.0)
    torch.testing.assert_close(objectives_advantages(values, weights, 3), expected)


def test_spans_of_a_score_are_checked() -> None:
    lists: Any = [[0, 3, 1], [3, 5, True]]  # as JSON has them
    assert Score(0.5, spans=lists).spans == (Span(0, 3, 1.0), Span(3, 5, 1.0))
    for spans in (
        [(3, 3, 1.0)],
        [(0, 4, 1.0), (3, 5, 1.0)],
        [(0, 1)],
        [(0.5, 1, 1.0)],
        [(0, 1, math.nan)],
        3,
    ):
        with pytest.raises(ValueError, match="Score"):
            Score(0.5, spans=spans)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neither parts nor spans"):
        Score(None, "skipped", parts={"a": 1.0})  # type: ignore[arg-type]
    for parts in ({"a/b": 1.0}, {"": 1.0}, {"a": math.inf}, {1: 1.0}, [1.0]):
        with pytest.raises(ValueError, match="Score"):
            Score(0.5, parts=parts)  # type: ignore[arg-type]
