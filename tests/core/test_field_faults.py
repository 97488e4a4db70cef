"""The faults of scores and data that users of this project and of its peers reported, and their neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.types import Failure, Judgement, Rollout

VERIFIERS: dict[str, dict[str, Any]] = {
    "math": {},
    "format": {"tags": ["think"], "free_answer": True},
    "language": {"target": "en", "part": "whole"},
    "length": {"max_words": 3},
    "readable": {},
}


@pytest.fixture(scope="module")
def rubric() -> Iterator[Rubric]:
    """All verifiers of this module, each at its own column ``use``."""
    entries = [
        Entry(use, load_component(find_plugin(use, SCORERS), params, None), when={"use": use})
        for use, params in VERIFIERS.items()
    ]
    with Rubric(entries, workers=1) as opened:
        yield opened


def judged(rubric: Rubric, use: str, completion: Any, **columns: Any) -> Judgement:
    (judgement,) = rubric.score([Rollout("p", completion, {"use": use, **columns})])
    return judgement


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


SAID = "The capital is Beijing."


@pytest.mark.parametrize(
    ("use", "completion", "reward"),
    [
        ("math", [turn("assistant", "calling"), turn("tool", "\\boxed{2}"), turn("assistant", "See above.")], 0.0),
        ("math", [turn("user", "\\boxed{2}"), turn("assistant", "I agree.")], 0.0),
        ("math", [turn("assistant", "\\boxed{2}"), turn("tool", "page text </think> more")], 1.0),
        ("math", [turn("assistant", "\\boxed{2}"), turn("tool", "<think>")], 1.0),
        ("math", [turn("assistant", "\\boxed{2}"), turn("tool", "\\boxed{3}")], 1.0),
        ("math", [turn("assistant", [{"type": "text", "text": "\\boxed{2}"}])], 1.0),
        ("math", [turn("assistant", "No answer.", reasoning_content="\\boxed{2}")], 0.0),
        ("language", [turn("assistant", SAID), turn("tool", "中国的首都是北京。"), turn("assistant", SAID)], 1.0),
        ("length", [turn("assistant", "one two three"), turn("tool", "four five six seven")], 1.0),
        ("readable", [turn("assistant", SAID), turn("tool", "```\nnever closed")], 1.0),
        ("format", [turn("assistant", "\\boxed{2}", reasoning_content="thinking hard")], 1.0),
        ("format", [turn("assistant", "\\boxed{2}", reasoning="thinking hard"), turn("tool", "<think>")], 1.0),
        ("format", [turn("assistant", "\\boxed{2}"), turn("tool", "<think>x</think>2")], 0.0),
    ],
)  # fmt: skip
def test_rubric_on_a_conversation_judges_the_models_own_words(
    rubric: Rubric, use: str, completion: Any, reward: float
) -> None:
    assert judged(rubric, use, completion, reference="2").reward == reward


@pytest.mark.parametrize(
    "reference", [np.int64(2), np.float32(2), np.float64(2.0), np.str_("2"), pd.Series([2])[0]]
)
def test_rubric_with_a_reference_of_numpy_judges(rubric: Rubric, reference: Any) -> None:
    assert judged(rubric, "math", "\\boxed{2}", reference=reference).reward == 1.0
    assert judged(rubric, "math", "\\boxed{3}", reference=reference).reward == 0.0


@pytest.mark.parametrize("reference", [math.nan, np.float64("nan"), None, pd.NA, pd.NaT])
def test_rubric_with_a_gap_as_reference_fails_as_reference(rubric: Rubric, reference: Any) -> None:
    for completion in ("\\boxed{2}", "\\boxed{nan}", "\\boxed{None}"):
        judgement = judged(rubric, "math", completion, reference=reference)
        assert judgement.reward is None
        assert judgement.verdicts["math"].score.failure is Failure.REFERENCE


def test_rubric_routes_by_columns_of_numpy() -> None:
    plugin = load_component(find_plugin("length", SCORERS), {"max_words": 3}, None)
    entries = [
        Entry("kind", plugin, when={"kind": [1, "a"]}),
        Entry("tags", plugin, when={"tags": [["x", "y"]]}),
    ]
    with Rubric(entries, workers=1) as rubric:
        rows: list[dict[str, Any]] = [
            {"kind": np.int64(1)},
            {"kind": np.str_("a")},
            {"tags": np.array(["x", "y"])},
            {"kind": math.nan},
        ]
        judgements = rubric.score([Rollout("p", "c", row) for row in rows])
    assert [list(judgement.verdicts) for judgement in judgements] == [["kind"], ["kind"], ["tags"], []]
