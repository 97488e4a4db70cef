"""What plugins return, as scores; what becomes of each in a run is in test_rubric.py."""

import json
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from guerdon.scoring.convert import to_json, to_score
from guerdon.types import Failure, Outcome, Score


@pytest.mark.parametrize(
    "returned", [True, 1, 1.0, np.float32(1), np.int64(1), np.bool_(True), Score(np.float32(1))]
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


def test_what_no_text_stands_for_fails_the_score() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert to_score(Score(1.0, answer=Mute())).failure is Failure.VERIFIER  # type: ignore[arg-type]
    assert to_score(Score(1.0, metadata={(1, 2): 3})).failure is Failure.VERIFIER  # type: ignore[dict-item]
    kept = to_score(Score(1.0, metadata={"mute": Mute()}))
    assert kept.outcome is Outcome.SCORED
    assert kept.metadata == {"mute": "<Mute whose text cannot be made: RuntimeError>"}
