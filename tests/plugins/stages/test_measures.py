"""pass@k, best@k and votes equal what counting all subsets of the samples gives."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Judgement, Score, Verdict
from guerdon_plugins.stages.sampling.measures import (
    Answered,
    Entries,
    best_of_k,
    majority_value,
    measure,
    pass_at_k,
)

WHOLE = st.integers(-2, 2).map(float)


def judgement(reward: float | None = 0.0, **scores: Score | float | None) -> Judgement:
    verdicts = {}
    for name, given_score in scores.items():
        score = (
            given_score
            if isinstance(given_score, Score)
            else (Score.skipped("none") if given_score is None else Score(given_score))
        )
        verdicts[name] = Verdict(score, 1.0, 0.0)
    return Judgement(reward, verdicts)


def entries(*names: str, kinds: dict[str, str] | None = None, same: Any = None) -> Entries:
    def entry(name: str) -> SimpleNamespace:
        component = SimpleNamespace(
            kind=(kinds or {}).get(name, "verifier"), build=object, member=lambda member, *, of: same
        )
        return SimpleNamespace(name=name, component=component, within=None)

    rubric: Any = SimpleNamespace(names=names, entries=[entry(name) for name in names])
    return Entries(rubric)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_equals_the_share_of_subsets_with_a_right_sample(
    right: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(right)))
    subsets = list(combinations(right, k))
    expected = sum(map(any, subsets)) / len(subsets)
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(expected)


@given(st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=7), st.data())
def test_best_of_k_equals_the_mean_over_subsets(
    samples: list[tuple[float, float]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    values = []
    for subset in combinations(samples, k):
        top = max(choosing for choosing, _ in subset)
        winners = [value for choosing, value in subset if choosing == top]
        values.append(sum(winners) / len(winners))
    assert best_of_k(samples, k) == pytest.approx(sum(values) / len(values), abs=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_best_of_k_by_the_value_itself_is_pass_at_k(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    samples = [(float(one), float(one)) for one in right]
    assert best_of_k(samples, k) == pytest.approx(pass_at_k(len(right), sum(right), k), abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 3)), min_size=1, max_size=8), st.booleans())
def test_weighted_vote_elects_the_answer_of_the_most_weight(
    votes: list[tuple[str, int]], weighted: bool
) -> None:
    values = {"a": 1.0, "b": 0.0, "c": 0.5}
    group = [
        judgement(math=Score(values[answer], answer=answer), style=float(weight)) for answer, weight in votes
    ]
    found = majority_value(group, "math", lambda one, other: one == other, "style" if weighted else None)
    order = list(dict.fromkeys(answer for answer, _ in votes))
    weights = {
        answer: (
            sum(max(0, weight) if weighted else 1 for one, weight in votes if one == answer),
            sum(one == answer for one, _ in votes),
        )
        for answer in order
    }
    assert found == values[max(order, key=lambda answer: weights[answer])]


def test_votes_without_weights_fall_back_to_the_majority() -> None:
    group = [judgement(math=Score(float(a == "x"), answer=a), style=None) for a in ("y", "x", "x")]
    assert majority_value(group, "math", lambda a, b: a == b, "style") == 1.0
    assert majority_value([], "math", lambda a, b: a == b) is None


def answered(*values: float | None, greedy: float | None = 1.0, style: tuple[float, ...] = ()) -> Answered:
    styles = style or (0.0,) * len(values)
    samples = [judgement(math=v, style=s) for v, s in zip(values, styles, strict=True)]
    return Answered(judgement(math=greedy, style=0.0), samples, [7] * len(values), [1] * len(values))


def test_failed_verdicts_are_left_out_and_never_wrong() -> None:
    measures = measure(
        [answered(1.0, None, 0.0, 1.0), answered(None, None, None, 0.0, greedy=None)],
        entries("math", "style"), 4, [1, 2], [], [],
    )  # fmt: skip
    assert measures["math_greedy"] == [(1.0, 1), (0.0, 0)]
    assert measures["math_mean@4"] == [(2.0, 3), (0.0, 1)]
    assert measures["math_pass@1"] == [(1 - 1 / 3, 1), (0.0, 1)]
    assert measures["math_pass@2"] == [(1.0, 1), (0.0, 0)], "one judged sample does not tell pass@2"
    assert measures["completion_tokens"] == [(28, 4), (28, 4)]


def test_part_credit_is_not_a_pass_and_a_reward_has_no_pass_at_k() -> None:
    measures = measure(
        [answered(0.9, 0.9)], entries("math", "style", kinds={"style": "reward"}), 2, [2], [], []
    )
    assert measures["math_pass@2"] == [(0.0, 1)]
    assert "style_pass@2" not in measures
    assert measures["style_mean@2"] == [(0.0, 2)]


def test_best_is_chosen_by_another_entry_or_by_the_reward() -> None:
    one = answered(0.0, 1.0, 0.5, style=(0.1, 0.9, 0.2))
    measures = measure([one], entries("math", "style"), 3, [1, 3], ["style", "reward"], [])
    assert measures["math_best@3_by_style"] == [(1.0, 1)]
    assert measures["math_best@1_by_style"] == [(0.5, 1)]
    assert measures["math_best@3_by_reward"] == [(0.5, 1)], "equal rewards choose at random"
    assert "style_best@3_by_style" not in measures


def test_a_refused_prompt_counts_in_no_measure() -> None:
    refused = Answered(Judgement(None, {}), [], [], [])
    measures = measure(
        [refused, answered(1.0, 1.0)], entries("math", same=lambda a, b: a == b), 2, [2], [], ["style"]
    )
    assert {label: parts[0] for label, parts in measures.items()} == dict.fromkeys(measures, (0, 0))
    assert {"math_maj@2", "math_maj@2_by_style"} <= measures.keys()
