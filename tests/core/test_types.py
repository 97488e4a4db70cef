import json
import math
import pickle
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from guerdon import Failure, Judgement, Outcome, Rollout, Score
from guerdon.errors import CheckFailedError
from guerdon.types import OnFailure, Verdict, completion_text, message_text, total_reward

scores = st.one_of(
    st.builds(
        Score,
        st.floats(allow_nan=False, allow_infinity=False),
        answer=st.none() | st.text(),
        explanation=st.text(),
    ),
    st.builds(Score.skipped, st.text()),
    st.builds(Score.failed, st.sampled_from(Failure), st.text()),
)


@given(scores)
def test_scores_survive_json_and_pickle(score: Score) -> None:
    assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score
    assert pickle.loads(pickle.dumps(score)) == score


@pytest.mark.parametrize("value", [None, math.nan, math.inf, True])
def test_a_scored_score_needs_a_finite_number(value: object) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Score(value)  # type: ignore[arg-type]


def test_a_value_is_a_float_whatever_number_it_was() -> None:
    assert json.dumps([Score(value).value for value in (1, Fraction(1, 2))]) == "[1.0, 0.5]"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.int64(1), np.array(0.5), torch.tensor(0.5), Decimal("0.5"), 1, 0.5]
)
def test_score_with_a_number_of_any_library_keeps_a_float(value: Any) -> None:
    assert type(Score(value).value) is float


@pytest.mark.parametrize(
    "value",
    [
        "1.0",
        np.bool_(True),
        np.array([1.0, 2.0]),
        10**400,
        Decimal("sNaN"),
        -math.inf,
        1j,
        [1.0],
        {},
        Score(1.0),
    ],
)
def test_score_with_a_value_that_is_not_one_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Score(value)


def test_score_with_the_texts_of_its_enums_holds_members() -> None:
    assert Score(0.5, "scored").outcome is Outcome.SCORED  # type: ignore[arg-type]
    assert Score(None, "skipped") == Score.skipped()  # type: ignore[arg-type]
    failed = Score.failed("reference", "no gold")
    assert (failed.failure, failed.outcome) == (Failure.REFERENCE, Outcome.FAILED)
    assert Score(None, "failed", "reference", explanation="no gold") == failed  # type: ignore[arg-type]
    assert replace(failed, failure="timeout").failure is Failure.TIMEOUT  # type: ignore[arg-type]


@given(st.text() | st.none() | st.booleans() | st.integers() | st.lists(st.text()))
def test_score_with_anything_but_a_member_or_its_text_is_refused(given_value: Any) -> None:
    assume(given_value not in [*Outcome, *Failure])
    with pytest.raises(ValueError, match=r"outcome is .*; give one of scored, skipped, failed"):
        Score(None, given_value)
    with pytest.raises(
        ValueError, match=r"failure is .*; give one of timeout, infrastructure, verifier, reference"
    ):
        Score.failed(given_value, "why")
    if given_value is not None:
        with pytest.raises(ValueError, match="failure is"):
            Score(None, Outcome.FAILED, given_value)


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": Failure.TIMEOUT},
        {"metadata": [1]},
        {"metadata": None},
    ],
)
def test_score_with_a_field_of_another_type_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"outcome is|is a mapping"):
        Score(1.0, **fields)


def test_score_with_an_answer_that_is_not_text_keeps_its_text() -> None:
    score = Score(0.0, answer=Fraction(1, 2), explanation=KeyError("x"))  # type: ignore[arg-type]
    assert (score.answer, score.explanation) == ("1/2", "'x'")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_score_with_json_metadata_keeps_it(metadata: dict[str, Any]) -> None:
    score = Score(1.0, metadata=metadata)
    assert score.metadata == metadata
    assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score


def test_score_with_other_metadata_makes_json_of_it() -> None:
    score = Score(1.0, metadata={"array": np.arange(2), "nan": math.nan, "set": {1}})
    assert score.metadata == {"array": [0, 1], "nan": "nan", "set": "{1}"}
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(ValueError, match="metadata cannot be JSON"):
        Score(1.0, metadata=loop)


verdicts = st.builds(
    Verdict,
    st.one_of(
        st.builds(Score, st.floats(-10, 10)),
        st.just(Score.skipped()),
        st.just(Score.failed(Failure.TIMEOUT, "late")),
    ),
    st.sampled_from([0.0, 1.0, -2.0, 0.5]),
    st.just(0.0),
    st.sampled_from([OnFailure.SKIP, OnFailure.ZERO, OnFailure.ABORT]),
)


@given(st.lists(verdicts))
def test_total_reward_follows_the_table_of_outcomes(given_verdicts: list[Verdict]) -> None:
    weighed = [verdict for verdict in given_verdicts if verdict.weight != 0]
    failed = [verdict for verdict in weighed if verdict.score.outcome is Outcome.FAILED]
    scored = [verdict for verdict in weighed if verdict.score.outcome is Outcome.SCORED]
    zeros = [verdict for verdict in failed if verdict.on_failure is OnFailure.ZERO]
    if len(zeros) < len(failed) or not (scored or zeros):
        assert total_reward(given_verdicts) is None
    else:
        expected = math.fsum(verdict.weight * (verdict.score.value or 0.0) for verdict in scored)
        assert total_reward(given_verdicts) == expected


@given(st.dictionaries(st.text(), verdicts))
def test_judgement_of_verdicts_survives_json_with_the_same_reward(by_name: dict[str, Verdict]) -> None:
    judgement = Judgement.of(by_name)
    read = Judgement.from_dict(json.loads(json.dumps(judgement.to_dict())))
    assert read.reward == judgement.reward
    assert [v.counted for v in read.verdicts.values()] == [v.counted for v in by_name.values()]
    assert Judgement.of(read.verdicts).reward == judgement.reward


@pytest.mark.parametrize("values", [(1e308, 1e308), (1e308 * 10, 1.0), (1e308, -1e308)])
def test_total_reward_that_is_not_finite_is_an_error(values: tuple[float, float]) -> None:
    big = [Verdict(Score(value), 10.0, 0.0) for value in values if math.isfinite(value)]
    with pytest.raises(CheckFailedError, match="not a finite number"):
        total_reward([*big, Verdict(Score(1e308), 1e308, 0.0)])


def test_outcome_and_failure_go_together() -> None:
    with pytest.raises(ValueError, match="cannot be combined with"):
        Score(None, Outcome.FAILED)
    with pytest.raises(ValueError, match="cannot be combined with"):
        Score(1.0, failure=Failure.TIMEOUT)
    with pytest.raises(ValueError, match="has no value"):
        Score(1.0, Outcome.SKIPPED)


def test_a_judgement_says_how_each_verdict_was_weighed() -> None:
    judgement = Judgement(
        1.0, {"a": Verdict(Score(0.5), 2.0, 0.12345), "b": Verdict(Score.skipped(), 1.0, 0.0)}
    )
    said = judgement.to_dict()
    assert said["reward"] == 1.0
    weighed = [
        {key: said["scores"][name][key] for key in ("value", "weight", "weighted", "latency_ms")}
        for name in "ab"
    ]
    assert weighed == [
        {"value": 0.5, "weight": 2.0, "weighted": 1.0, "latency_ms": 0.123},
        {"value": None, "weight": 1.0, "weighted": None, "latency_ms": 0.0},
    ]


def test_scores_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Score(1.0).value = 0.0  # type: ignore[misc]


def test_a_rollouts_text_is_its_messages_text() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": blocks},
        {"role": "tool"},
    ]
    assert Rollout("p", messages).text == "one\nab"
    assert message_text("plain") == "plain"
    assert message_text(messages) == "one\nab\n"


OTHERS = st.sampled_from(["tool", "user", "system", "developer", "function", "", "Assistant"])
CONTENTS = (
    st.none() | st.text() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
)


@given(st.lists(st.tuples(st.just("assistant") | OTHERS, CONTENTS)))
def test_completion_text_of_messages_holds_only_assistant_turns(turns: list[tuple[str, Any]]) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    own = [message for message in messages if message["role"] == "assistant"]
    assert completion_text(messages) == completion_text(own)
    assert completion_text(messages) == "\n".join(
        text for message in own if (text := message_text([message]))
    )


@pytest.mark.parametrize(
    "turn",
    [
        {"reasoning_content": "why", "content": "so"},
        {"reasoning": "why\n", "content": "so"},
        {"thinking": "why", "content": "\n\nso"},
        {"reasoning_content": None, "reasoning": "why", "content": [{"type": "text", "text": "so"}]},
        {"content": [{"type": "thinking", "thinking": "why"}, {"type": "text", "text": "so"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}, "so"]},
    ],
)
def test_completion_text_puts_reasoning_in_tags_before_its_turn(turn: dict[str, Any]) -> None:
    messages = [{"role": "assistant", **turn}, {"role": "tool", "content": "</think>"}]
    assert completion_text(messages) == "<think>\nwhy\n</think>\n\nso"


@pytest.mark.parametrize(
    "content", [None, 5, {}, [None], [{"type": "text"}], [{"type": "image_url", "text": "x"}]]
)
def test_completion_text_of_content_without_text_is_empty(content: Any) -> None:
    assert completion_text([{"role": "assistant", "content": content, "reasoning_content": " "}]) == ""
