import json
import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Judgement, Outcome, Rollout, Score
from guerdon.types import Verdict, message_text

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
    assert json.dumps([Score(value).value for value in (1, Fraction(1, 2))]) == "[1.0, 0.5]"


def test_outcome_and_failure_go_together() -> None:
    with pytest.raises(ValueError, match="does not go with"):
        Score(None, Outcome.FAILED)
    with pytest.raises(ValueError, match="does not go with"):
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
    messages = [
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": blocks},
        {"role": "tool"},
    ]
    assert Rollout("p", messages).text == "one\nab\n"
    assert message_text("plain") == "plain"
