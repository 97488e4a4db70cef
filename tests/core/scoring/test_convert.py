"""What plugins return, as scores; what becomes of each in a run is in test_rubric.py."""

import json
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from guerdon.data.json_values import to_json
from guerdon.scoring.convert import to_failure, to_score
from guerdon.types import Failure, Outcome, Score


@pytest.mark.parametrize(
    "returned",
    [True, 1, 1.0, np.float32(1), np.int64(1), np.bool_(True), Score(np.float32(1))],  # type: ignore[arg-type]
)
def test_numbers_become_floats(returned: Any) -> None:
    score = to_score(returned)
    assert json.dumps(score.to_dict()["value"]) == "1.0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": (1, 2.5, None, True, "é")}, {"a": [1, 2.5, None, True, "é"]}),
        (MappingProxyType({1: np.float32(0.5)}), {"1": 0.5}),
        ([np.arange(3), np.int64(7)], [[0, 1, 2], 7]),
        ([math.nan, math.inf, -math.inf, np.float64("nan")], ["nan", "inf", "-inf", "nan"]),
        ([{1}, KeyError("x"), b"y"], ["{1}", "'x'", "b'y'"]),
    ],
)
def test_what_json_cannot_say_is_said_as_text(value: Any, expected: Any) -> None:
    assert to_json(value) == expected


def test_score_with_a_field_that_has_no_text_is_refused() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(ValueError, match="answer is text"):
        Score(1.0, answer=Mute())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="metadata cannot be JSON"):
        Score(1.0, metadata={(1, 2): 3})  # type: ignore[dict-item]
    kept = to_score(Score(1.0, metadata={"mute": Mute()}))
    assert kept.outcome is Outcome.SCORED
    assert kept.metadata == {"mute": "<Mute whose text cannot be made: RuntimeError>"}


class _OwnText(str):
    pass


class _OwnScore(Score):
    pass


def test_to_score_of_a_plugins_own_types_returns_plain_ones() -> None:
    score = to_score(_OwnScore(1.0, answer=_OwnText("a"), explanation=_OwnText("b")))
    assert (type(score), type(score.answer), type(score.explanation)) == (Score, str, str)


def test_to_score_of_a_score_that_was_changed_after_it_was_made_checks_it_again() -> None:
    score = Score(1.0, metadata={"a": 1})
    score.metadata["b"] = np.float32(0.5)  # type: ignore[index]
    assert to_score(score).metadata == {"a": 1, "b": 0.5}
    score.metadata[(1, 2)] = 3  # type: ignore[index]
    assert to_score(score).failure is Failure.VERIFIER


@pytest.mark.parametrize("returned", [math.nan, np.float64("inf"), 10**400, "1", [1.0], 1j, object()])
def test_to_score_of_something_that_is_not_a_number_fails(returned: Any) -> None:
    score = to_score(returned)
    assert (score.value, score.failure) == (None, Failure.VERIFIER)


def test_an_exception_without_a_text_is_its_type() -> None:
    assert to_failure(RuntimeError()).explanation == "RuntimeError"
    assert to_failure(RuntimeError("a: ")).explanation == "RuntimeError: a:"
