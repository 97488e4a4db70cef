"""What counts as a flip, and how the counts add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import UsageError
from guerdon.offline.compare import SAME, Comparison
from guerdon.offline.summary import Spread
from guerdon.types import Failure, Judgement, Score, Verdict


def judgement(reward: float | None = None, /, **scores: Score) -> Judgement:
    return Judgement(reward, {name: Verdict(score, 1.0, 0.0) for name, score in scores.items()})


SCORES = st.one_of(
    st.builds(Score, st.sampled_from([0.0, 0.5, 1.0])),
    st.just(Score.skipped()),
    st.builds(Score.failed, st.sampled_from(Failure), st.just("why")),
)


@given(st.lists(st.tuples(SCORES, SCORES)))
def test_every_row_is_counted_once_and_flips_are_the_rest(pairs: list[tuple[Score, Score]]) -> None:
    comparison = Comparison(["m"], ["m"])
    flips = [
        flip
        for number, (a, b) in enumerate(pairs)
        for flip in comparison.add(str(number), "c", judgement(m=a), judgement(m=b))
    ]
    row = comparison.rows()[0]
    assert row["same"] + row["up"] + row["down"] + row["other outcome"] == len(pairs)
    assert len(flips) == comparison.flips == sum(a != b for a, b in pairs)
    assert [int(flip.where) for flip in flips] == [i for i, (a, b) in enumerate(pairs) if a != b]


@given(st.lists(st.tuples(SCORES, SCORES)))
def test_the_other_way_round_up_is_down(pairs: list[tuple[Score, Score]]) -> None:
    there, back = Comparison(["m"], ["m"]), Comparison(["m"], ["m"])
    for a, b in pairs:
        list(there.add("x", "c", judgement(m=a), judgement(m=b)))
        list(back.add("x", "c", judgement(m=b), judgement(m=a)))
    one, other = there.rows()[0], back.rows()[0]
    assert (one["up"], one["down"], one["mean A"]) == (other["down"], other["up"], other["mean B"])


def test_rounding_is_not_a_flip() -> None:
    comparison = Comparison(["m"], ["m"])
    assert not list(comparison.add("x", "c", judgement(m=Score(0.5)), judgement(m=Score(0.5 + SAME / 2))))
    (flip,) = comparison.add("x", "c", judgement(m=Score(0.5)), judgement(m=Score(0.5 + SAME * 2)))
    assert flip.to_dict()["b"]["value"] > 0.5


def test_single_verifiers_are_paired_whatever_they_are_called() -> None:
    comparison = Comparison(["old"], ["new"])
    (flip,) = comparison.add("x", "c", judgement(1.0, old=Score(1.0)), judgement(0.0, new=Score(0.0)))
    assert flip.verifier == "old / new"
    assert (flip.reward_a, flip.reward_b) == (1.0, 0.0)
    assert comparison.rows()[1] == {
        "name": "reward",
        "same": 0,
        "up": 0,
        "down": 1,
        "other outcome": 0,
        "mean A": 1.0,
        "mean B": 0.0,
    }


def test_of_several_those_of_one_name_are_paired() -> None:
    comparison = Comparison(["math", "old"], ["math", "new"])
    assert (comparison.only_a, comparison.only_b) == (["old"], ["new"])
    with pytest.raises(UsageError, match="nothing to compare: A has a, b, and B c"):
        Comparison(["a", "b"], ["c"])


def test_a_verifier_may_be_called_reward() -> None:
    comparison = Comparison(["reward"], ["reward"])
    flips = list(comparison.add("x", "c", *(judgement(None, reward=Score(value)) for value in (1.0, 0.0))))
    assert len(flips) == comparison.flips == 1
    assert [row["name"] for row in comparison.rows()] == ["reward", "reward"]


def test_a_rollout_that_one_side_does_not_route_is_a_flip() -> None:
    comparison = Comparison(["m"], ["m"])
    (flip,) = comparison.add("x", "c", judgement(m=Score(1.0)), judgement())
    assert (flip.b, flip.to_dict()["b"]) == (None, None)


@given(st.lists(st.floats(-1e6, 1e6)))
def test_a_spread_is_what_a_list_says(values: list[float]) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    assert (spread.count, spread.low, spread.high) == (
        len(values),
        min(values, default=None),
        max(values, default=None),
    )
    assert spread.mean == (pytest.approx(sum(values) / len(values)) if values else None)
