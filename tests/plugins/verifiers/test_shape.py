"""The verifiers of a completion's shape: tag_count, length, readable, repetition_penalty, reasoning_steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Score
from guerdon_plugins.verifiers.length import Length
from guerdon_plugins.verifiers.readable import Readable
from guerdon_plugins.verifiers.reasoning_steps import ReasoningSteps
from guerdon_plugins.verifiers.repetition_penalty import RepetitionPenalty
from guerdon_plugins.verifiers.tag_count import TagCount


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        ("<think>a</think>", 0.5),
        ("<think>a", 0.0),
        ("<think></think><answer>.</answer>", 0.0),
        ("</think><think>a<answer>b</answer>", 0.5),
        ("<think>a<answer>b</answer></think>", 0.5),
        ("<answer>b</answer><think>a</think>", 0.5),
        ("<think><think>a</think></think>", 0.0),
        ("", 0.0),
    ],
)
def test_tag_count(completion: str, expected: float) -> None:
    assert TagCount()(completion).value == expected


def test_tag_count_where_the_template_opened_the_first_tag() -> None:
    assert TagCount(prefilled=True)("a</think><answer>b</answer>").value == 1.0
    assert TagCount(prefilled=True)("<think>a</think><answer>b</answer>").value == 0.5


def test_tag_count_needs_tags() -> None:
    with pytest.raises(ValueError, match="tags is empty"):
        TagCount(tags=[])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", 0.5),
        ("one two three four", 1.0),
        ("a " * 6, 1.0),
        ("a " * 12, 0.5),
        ("一二三四", 1.0),
        ("", 0.0),
    ],
)
def test_length_in_words(text: str, expected: float) -> None:
    assert Length(min_words=4, max_words=6)(text).value == expected


def test_length_of_a_part() -> None:
    completion = "<think>one two three</think><answer>four</answer>"
    assert Length(max_words=1, part="answer")(completion).value == 1.0
    assert Length(max_words=1, part="reasoning")(completion).value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "params", [{}, {"min_words": 5, "max_words": 4}, {"min_words": -1, "max_words": 3}, {"max_words": 0}]
)
def test_length_bounds_that_bound_nothing_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="words"):
        Length(**params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every word here is new", 0.0),
        ("a b a b a b", -0.5),  # 4 trigrams, 2 of them new
        ("A b a B a b", -0.5),
        ("!" * 12, -0.9),
        ("哈" * 12, -0.9),
        ("a b", 0.0),
        ("", 0.0),
    ],
)
def test_repetition_penalty(text: str, expected: float) -> None:
    assert RepetitionPenalty()(text).value == pytest.approx(expected)


def test_repetition_penalty_agrees_with_trl_on_tokens() -> None:
    # TRL's documented example: five equal tokens, bigrams.
    assert RepetitionPenalty(ngram_size=2)("x x x x x").value == pytest.approx(-0.75)
    assert RepetitionPenalty(ngram_size=2, max_penalty=-0.5)("x x x x x").value == pytest.approx(-0.375)


def test_repetition_penalty_refuses_a_bonus() -> None:
    with pytest.raises(ValueError, match="max_penalty is 1"):
        RepetitionPenalty(max_penalty=1.0)
    with pytest.raises(ValueError, match="ngram_size is 0"):
        RepetitionPenalty(ngram_size=0)


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("First, add.\nThen carry.\nFinally write it down.", 1.0),
        ("Step 1: add\nStep 2: carry\nStep 3: write", 1.0),
        ("1. add\n2. carry", 2 / 3),
        ("- add\n- carry\n* write", 1.0),
        ("首先相加。\n然后进位。\n最后写下。", 1.0),
        ("第一步：相加\n第二步：进位\n第三步：写下", 1.0),
        ("Step 1:\nStep 2:\nStep 3:", 0.0),
        ("Step 1: add\nStep 2: add\nStep 3: add", 1 / 3),
        ("Step 1: Step 1: Step 1: Step 1:", 1 / 3),
        ("We add, then carry, and finally write.", 0.0),
        ("```\n1. a\n2. b\n3. c\n```", 0.0),
        ("", 0.0),
    ],
)
def test_reasoning_steps(reasoning: str, expected: float) -> None:
    completion = f"<think>{reasoning}</think><answer>\n1. x\n2. y\n3. z</answer>" if reasoning else ""
    assert ReasoningSteps()(completion).value == pytest.approx(expected)


def test_reasoning_steps_needs_a_number_of_steps() -> None:
    with pytest.raises(ValueError, match="min_steps is 0"):
        ReasoningSteps(min_steps=0)


@given(
    st.text()
    | st.lists(st.sampled_from(["Step 1: ", "1. ", "\n", "a ", "<think>", "</answer>", "**", "首先"])).map(
        "".join
    )
)
def test_any_text_scores_in_range_and_always_the_same(completion: str) -> None:
    verifiers: list[tuple[Callable[[str], Score], float, float]] = [
        (TagCount(), 0, 1),
        (Length(min_words=2, max_words=5), 0, 1),
        (RepetitionPenalty(max_penalty=-2.0), -2, 0),
        (ReasoningSteps(), 0, 1),
    ]
    for verifier, low, high in verifiers:
        score = verifier(completion)
        assert score.value is not None
        assert low <= score.value <= high
        assert verifier(completion) == score


@pytest.mark.parametrize(
    ("text", "value", "explanation"),
    [
        ("one two three\n\nfour", 1.0, "3 words"),
        ("one two three four", 0.0, "4 words, more than 3"),
        ("一二三四", 0.0, "4 words, more than 3"),
        ("see\n```py\na b c d e\n```\nthis", 0.0, "1 blocks of code, more than 0"),
        ("see\n```py\na", 0.0, "never closed"),
        (" \n\n ", 0.0, "no words"),
    ],
)
def test_readable(text: str, value: float, explanation: str) -> None:
    score = Readable(max_paragraph_words=3)(text)
    assert score.value == value
    assert explanation in score.explanation


def test_readable_text_may_have_the_code_that_is_asked_for() -> None:
    text = "<think>see</think>\n```py\n" + "a b c d e f\n" * 50 + "```"
    assert Readable(max_paragraph_words=3, max_code_blocks=1)(text).value == 1.0
    assert Readable(part="reasoning")(text).value == 1.0


@pytest.mark.parametrize("params", [{"max_paragraph_words": 0}, {"max_code_blocks": -1}])
def test_readable_refuses_bounds_that_bound_nothing(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        Readable(**params)
