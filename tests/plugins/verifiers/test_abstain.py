"""Right, "I do not know" and wrong; and the score of a stated confidence."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon.errors import PluginNotFoundError
from guerdon_plugins.verifiers.abstain import PHRASES, Abstain


@pytest.mark.parametrize("phrase", PHRASES)
def test_abstain_phrase_of_any_language_scores_between(phrase: str) -> None:
    for text in (phrase, f"{phrase.capitalize()}.", f"<think>Paris?</think>Answer: {phrase}"):
        assert Abstain()(text, "Paris").value == 0.25


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Paris", 1.0),
        ("Answer: Lyon", 0.0),
        ("I don’t know", 0.25),
        ("I don't know, maybe Paris", 0.0),
        ("Paris, but I don't know", 0.0),
        ("<think>I don't know</think>", 0.0),
        ("I'm sorry, but I can't help with that.", 0.0),
        ("", 0.0),
    ],
)
def test_abstain_values_in_order(text: str, value: float) -> None:
    assert Abstain()(text, "Paris").value == value


def test_abstain_own_values_phrases_and_verifier() -> None:
    verifier = Abstain(
        "choice", {"labels": ["A", "B"]}, right=2.0, abstained=0.0, wrong=-1.0, phrases=["pass"]
    )
    assert [verifier(text, "B", options=None).value for text in ("B", "Pass.", "A", "I don't know")] == [
        2.0,
        0.0,
        -1.0,
        -1.0,
    ]


def test_abstain_right_answer_that_is_a_phrase_is_right() -> None:
    assert Abstain(verifier_params={"no_answer": ["unknown"]})("unknown", []).value == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: Paris\nConfidence: 100%", 1.0),
        ("Paris\nConfidence: 0.5", 0.75),
        ("Paris <confidence>80/100</confidence>", 0.96),
        ("答案：Paris\n置信度：８０％", 0.96),
        ("Lyon\nConfidence: 0", 0.0),
        ("Lyon\nMy confidence is 9/10.", -0.81),
        ("Lyon\nConfidence: 100%", -1.0),
        ("Paris", 0.0),
        ("Lyon", -1.0),
        ("Paris\nConfidence: 2.5", 0.0),
        ("Paris\nConfidence: high", 0.0),
        ("Paris\nConfidence: 0.9\nConfidence: 0.1", 0.0),
        ("<think>Confidence: 1</think>Paris", 0.0),
        ("", -1.0),
    ],
)
def test_abstain_confidence_scores_correctness_less_brier(text: str, value: float) -> None:
    assert Abstain(mode="confidence")(text, "Paris").value == pytest.approx(value)


@given(st.floats(0, 1), st.floats(0, 1))
def test_abstain_honest_confidence_has_the_highest_mean(chance: float, stated: float) -> None:
    def mean(confidence: float) -> float:
        scores = [
            CONFIDENT(f"{text}\nConfidence: {confidence:.6f}", "Paris").value for text in ("Paris", "Lyon")
        ]
        assert scores[0] is not None
        assert scores[1] is not None
        return chance * scores[0] + (1 - chance) * scores[1]

    assert mean(chance) >= mean(stated) - 1e-5


CONFIDENT = Abstain(mode="confidence")


@pytest.mark.parametrize("params", [{"abstained": 2.0}, {"wrong": 0.5}])
def test_abstain_values_out_of_order_raise(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="wrong <= abstained <= right"):
        Abstain(**params)


def test_abstain_unknown_verifier_raises() -> None:
    with pytest.raises(PluginNotFoundError):
        Abstain("no_such_verifier")


def test_abstain_unreadable_reference_is_the_verifiers_failure() -> None:
    assert Abstain()("I do not know", "").failure is Failure.REFERENCE


@pytest.mark.parametrize(
    "answer",
    [
        "Sorry, I don't know.",
        "I'm not sure.",
        "\\boxed{\\text{I do not know}}",
        "I do not know the answer to this question.",
    ],
)
def test_abstain_phrase_in_an_unusual_layout_abstains(answer: str) -> None:
    assert Abstain()(answer, "Paris").value == 0.25


@pytest.mark.parametrize("stated", ["(Confidence: 90%)", "\nConfidence level: 90%", "\n**Confidence:** 9/10"])
def test_abstain_confidence_in_an_unusual_layout_is_read(stated: str) -> None:
    assert Abstain(mode="confidence")(f"Paris {stated}", "Paris").value == pytest.approx(0.99)


@pytest.mark.parametrize(
    "text", ["<confidence>" + " " * 50_000, "(" + " " * 50_000, "# " + " " * 50_000 + "x"]
)
def test_abstain_confidence_is_found_in_linear_time(text: str) -> None:
    started = time.thread_time()
    assert Abstain(mode="confidence")(text, reference="Paris").value == -1.0
    assert time.thread_time() - started < 1.0


def test_abstain_confidence_may_begin_with_its_point() -> None:
    assert Abstain(mode="confidence")(
        "Answer: Paris\nConfidence: .8", reference="Paris"
    ).value == pytest.approx(0.96)
