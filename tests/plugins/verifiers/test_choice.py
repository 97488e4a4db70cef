"""Multiple choice: labels and texts in many languages are read, and a hedge earns nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.verifiers.choice import Choice

OPTIONS = ["Lyon", "Paris", "Rome", "None"]


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "(B)",
        "b.",
        "B. Paris",
        "B) Paris is the capital",
        "B\nParis",
        "Ｂ",
        "**B**",
        "B\u200b",
        "Paris.",
        "option B",
        "I choose B",
        "The correct answer is (B).",
        "Therefore, the answer is Paris",
        "\\boxed{\\text{B}}",
        "\\boxed{\\boxed{B}}",
        "<answer>B</answer>",
        "#### B",
        "选B",
        "答案是B",
        "正解はBです",
        "정답은 B입니다",
        "Ответ: В",
        "Ответ: B. Paris. А в этом случае С не верно",
        "Die richtige Antwort ist B",
        "La bonne réponse est B.",
        "La respuesta correcta es B",
        "الإجابة: B",
        "उत्तर: B है",
        "<think>A? No: Paris is B.</think>B",
        "B (Paris)",
        "B is the correct answer.",
        "Thus, the correct choice is B.",
        "I'd go with B",
        "\\(B\\)",
        "B. Paris. A city in France, and I like it.",
        "B) Paris. Option C is wrong.",
        "B, Paris",
        "So the answer is B, Paris.",
        "答案是B，Paris",
    ],
)
def test_choice_right_option_in_any_form_scores_1(answer: str) -> None:
    score = Choice()(answer, "B", OPTIONS)
    assert (score.value, score.answer) == (1.0, "B")


@pytest.mark.parametrize(
    "answer",
    [
        "B. Paris. С is right too",
        "B. Paris. Perhaps option А is right",
        "A or B",
        "B or A",
        "B, A",
        "B (A)",
        "B. Lyon",
        "A. Paris",
        "AB",
        "ABCD",
        "A B C D",
        "B. or A",
        "B / A",
        "not B",
        "anything but B",
        "B. Paris or A",
        "B. Paris; Lyon",
        "Paris or Lyon",
        "It is either B or C",
        "BB",
        "B) Paris, though C is also possible",
        "B. Paris. Option A is also right",
        "B, or else A",
        "B is wrong",
        "B) Paris is incorrect",
        "B: not Paris",
        "E",
        "",
        "\\boxed{A} or \\boxed{B}",
        "<answer>A</answer> <answer>B</answer>",
        "<think>It is B.</think>",
    ],
)
def test_choice_hedge_or_other_option_scores_0(answer: str) -> None:
    assert Choice()(answer, "B", OPTIONS).value == 0.0


def test_choice_label_that_is_another_options_text_is_a_label() -> None:
    assert Choice()("B", "B", ["B", "A"]).value == 1.0
    assert Choice()("B", "A", ["B", "A"]).value == 0.0


def test_choice_last_line_with_a_mark_counts() -> None:
    assert Choice()("Answer: A\nNo, wait.\nAnswer: B", "B", OPTIONS).value == 1.0


@pytest.mark.parametrize(
    ("reference", "params", "right"),
    [
        ("B", {}, "B"),
        ("(B)", {}, "B"),
        (1, {}, "B"),
        ("1", {}, "B"),
        ("Paris", {}, "B"),
        ("paris", {"gold": "text"}, "B"),
        ("2", {"gold": "number"}, "B"),
        ("None", {}, "D"),
        (["A", "B"], {}, "B"),
    ],
)
def test_choice_reference_as_label_index_number_or_text_is_read(
    reference: Any, params: dict[str, Any], right: str
) -> None:
    assert Choice(**params)(right, reference, OPTIONS).value == 1.0


@pytest.mark.parametrize(
    ("reference", "options"),
    [
        ("", OPTIONS),
        (None, OPTIONS),
        ([], OPTIONS),
        ("E", OPTIONS),
        (7, OPTIONS),
        (True, OPTIONS),
        ({"a": 1}, OPTIONS),
        ("Vienna", OPTIONS),
        ("2", ["1", "2", "3"]),
        ("B", "no JSON"),
        ("B", "[" * 100_000),
        ("B", 7),
        ("B", {"label": ["A", "A"], "text": ["x", "y"]}),
        ("n/a", None),
    ],
)
def test_choice_unreadable_row_is_a_reference_failure(reference: Any, options: Any) -> None:
    assert Choice()("B", reference, options).failure is Failure.REFERENCE


@pytest.mark.parametrize(
    "options",
    [
        {"A": "Lyon", "B": "Paris"},
        {"label": ["A", "B"], "text": ["Lyon", "Paris"]},
        '["Lyon", "Paris"]',
        ("Lyon", "Paris"),
    ],
)
def test_choice_options_of_every_shape_are_read(options: Any) -> None:
    assert Choice()("Paris", "B", options).value == 1.0


def test_choice_shuffled_options_follow_the_row() -> None:
    assert Choice()("A", "Paris", ["Paris", "Lyon"]).value == 1.0
    assert Choice()("B", "Paris", ["Paris", "Lyon"]).value == 0.0


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        (["А", "Б", "В", "Г"], "Ответ: Б"),
        (["가", "나", "다"], "정답: 나"),
        (["1", "2", "3"], "②"),
        (["甲", "乙"], "选乙"),
    ],
)
def test_choice_labels_of_another_script_are_read(labels: list[str], answer: str) -> None:
    assert Choice(labels=labels)(answer, labels[1]).value == 1.0
    assert Choice(labels=labels)(answer, labels[0]).value == 0.0


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("A, C", 1.0),
        ("AC", 1.0),
        ("C and A", 1.0),
        ("Lyon; Rome", 1.0),
        ("A", 0.5),
        ("A, B", 0.0),
        ("ABCD", 0.0),
    ],
)
@pytest.mark.parametrize("reference", ["AC", "A, C", ["A", "C"], [0, 2]])
def test_choice_several_pays_no_wrong_option(answer: str, value: float, reference: Any) -> None:
    assert Choice(several=True, partial_credit=True)(answer, reference, OPTIONS).value == value
    assert Choice(several=True)(answer, reference, OPTIONS).value == float(value == 1.0)


@given(
    st.lists(st.sampled_from("ABCD"), min_size=2, max_size=4, unique=True),
    st.sampled_from([", ", " or ", " / ", " "]),
)
def test_choice_any_list_of_two_or_more_letters_scores_0(letters: list[str], separator: str) -> None:
    assert Choice()(separator.join(letters), letters[0]).value == 0.0


@given(st.text(max_size=60))
def test_choice_any_text_gets_a_score(answer: str) -> None:
    assert Choice()(answer, "B", OPTIONS).value in (0.0, 1.0)


@pytest.mark.parametrize("reference", ["B", 1, ["A", "C"], "Paris"])
def test_choice_gold_completion_scores_1(reference: Any) -> None:
    verifier = Choice(several=isinstance(reference, list))
    gold = verifier.gold_completion(reference)
    assert gold is not None
    assert verifier(gold, reference, OPTIONS).value == 1.0


def test_choice_gold_completion_of_an_unclear_number_is_none() -> None:
    assert Choice().gold_completion("2") is None
    assert Choice().gold_completion(None) is None


@pytest.mark.parametrize("params", [{"labels": ["A"]}, {"labels": ["A", "a"]}, {"partial_credit": True}])
def test_choice_params_that_contradict_raise(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"labels|several"):
        Choice(**params)


@pytest.mark.parametrize(
    ("verifier", "answer", "reference", "explanation"),
    [
        (Choice(), "C", "B", "it chose C; right is B"),
        (Choice(), "The answer is A and B", "B", "it chose A, B; right is B"),
        (Choice(several=True, partial_credit=True), "A", ["A", "B"], "it chose A; right is A, B"),
        (Choice(), "B", "B", ""),
    ],
)
def test_choice_of_a_wrong_option_says_which_is_right(
    verifier: Choice, answer: str, reference: Any, explanation: str
) -> None:
    assert verifier(answer, reference, OPTIONS).explanation == explanation


@pytest.mark.parametrize("answer", ["b, d", "b,d", "(b) (d)", "b d", "(b), (c) and (d)", "b/d"])
def test_choice_two_labels_in_lower_case_are_no_choice(answer: str) -> None:
    assert Choice()(answer, "B").value == 0.0


@pytest.mark.parametrize("answer", ["(A) and (C)", "[A], [C]", "(A), (C)", "a, c"])
def test_choice_each_of_several_labels_may_have_brackets(answer: str) -> None:
    assert Choice(several=True)(answer, "AC").value == 1.0


def test_choice_texts_are_equal_with_either_minus() -> None:
    assert Choice()("−5", "A", ["-5", "5"]).value == 1.0
    assert Choice()("−5", "B", ["-5", "5"]).value == 0.0
