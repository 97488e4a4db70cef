"""A batch's verdicts as rows of TRL's matrix."""

import math

import pytest

from guerdon.grpo.reward_matrix import reward_row
from guerdon.types import Failure, Judgement, OnFailure, Score, Verdict

ONE = Verdict(Score(1.0), 2.0, 0.0)
METRIC = Verdict(Score(0.5), 0.0, 0.0)
FAILED = Score.failed(Failure.TIMEOUT, "late")


@pytest.mark.parametrize(
    ("judgement", "row"),
    [
        (Judgement(2.0, {"a": ONE, "b": METRIC}), [1.0, 0.5]),
        (Judgement(2.0, {"a": ONE}), [1.0, math.nan]),
        (Judgement.of({"a": ONE, "b": Verdict(FAILED, 1.0, 0.0, OnFailure.ZERO)}), [1.0, 0.0]),
        (Judgement.of({"a": ONE, "b": Verdict(FAILED, 0.0, 0.0, OnFailure.ZERO)}), [1.0, math.nan]),
        (Judgement.of({"a": ONE, "b": Verdict(FAILED, 1.0, 0.0)}), [math.nan, math.nan]),
        (Judgement.of({"b": METRIC}), [math.nan, math.nan]),  # or TRL would make it a reward of 0
    ],
)
def test_a_row_without_a_reward_is_nothing_but_nan(judgement: Judgement, row: list[float]) -> None:
    assert reward_row(judgement, ["a", "b"]) == pytest.approx(row, nan_ok=True)
