"""Short answers: equal texts, numbers and dates in many languages; SQuAD's, TriviaQA's and DROP's references."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.verifiers.qa import QuestionAnswer

EQUAL = [
    ("the Paris.", "paris", "en"),
    ("Answer: Paris", "Paris", "en"),
    ("The answer is **Paris**", "Paris", "en"),
    ("\\boxed{Paris}", "Paris", "en"),
    ("1,000", "1000", "en"),
    ("1.000", "1000", "de"),
    ("3,50", "3,5", "fr"),
    ("1000.0", "1,000", "en"),
    ("twelve", "12", "en"),
    ("zwölf", "12", "de"),
    ("十二", "12", "zh"),
    ("5 million", "5,000,000", "en"),
    ("５", "5", "ja"),
    ("٤٢", "42", "ar"),
    ("$5", "5", "en"),
    ("5", "5%", "en"),
    ("5%", "5", "en"),
    ("50 percent", "50", "en"),
    ("–5", "-5", "en"),
    ("− 5", "-5", "en"),
    ("5×10⁶", "5,000,000", "en"),
    ("10⁶", "10^6", "en"),
    ("5e-3", "0.005", "en"),
    ("CO₂", "CO2", "en"),
    ("5 m²", "5 m2", "en"),
    ("C-3PO", "C3PO", "en"),
    ("March 5, 2024", "2024-03-05", "en"),
    ("5th of March 2024", "March 5, 2024", "en"),
    ("Sept 2024", "September 2024", "en"),
    ("5. März 2024", "2024-03-05", "de"),
    ("5 марта 2024", "2024-03-05", "ru"),
    ("2024年3月5日", "2024-03-05", "zh"),
    ("3/4/2024", "3/4/2024", "en"),
    ("25/12/2024", "December 25, 2024", "en"),
    ("北京。", "北京", "zh"),
    ("北 京", "北京", "zh"),
    ("l’Espagne", "Espagne", "fr"),
    ("Die Beatles", "beatles", "de"),
    ("الكتاب", "كتاب", "ar"),
    ("twenty-one pilots", "Twenty One Pilots", "en"),
    ("C++", "c++", "en"),
    ("STRASSE", "Straße", "de"),
    ("the The", "The The", "en"),
    ("Ａ　B", "a b", "en"),
    ("1,000 people", "1000 people", "en"),
    ("1.000 Leute", "1000 Leute", "de"),
    ("−5 °C", "-5 °C", "en"),
    ("3 – 4", "3-4", "en"),
    ("10:30", "10:30", "en"),
    ("COVID19", "Covid-19", "en"),
    ("5 percent", "5%", "en"),
    ("1,000 dollars", "$1,000", "en"),
    ("twenty-one", "21", "en"),
    ("a hundred", "100", "en"),
    ("two million", "2,000,000", "en"),
    (".5", "0.5", "en"),
    ("\\boxed{\\text{Paris}}", "Paris", "en"),
]

DIFFERENT = [
    ("Die Beatles", "Beatles", "en"),
    ("-5", "5", "en"),
    ("C", "C++", "en"),
    ("$5", "€5", "en"),
    ("1.000", "1000", "en"),
    ("12", "13", "en"),
    ("4 March 2024", "2024-03-05", "en"),
    ("4/3/2024", "2024-03-04", "en"),
    ("Paris or Lyon", "Paris", "en"),
    ("Paris, Lyon", "Paris", "en"),
    ("not Paris", "Paris", "en"),
    ("2 3", "23", "en"),
    ("5-6", "56", "en"),
    ("5/6", "56", "en"),
    ("5/6", "5-6", "en"),
    ("1,5", "15", "en"),
    ("3.5 kg", "35 kg", "en"),
    ("3,5 kg", "35 kg", "de"),
    ("v1.5", "v15", "en"),
    ("10:30", "1030", "en"),
    ("5=2", "52", "en"),
    ("4·5", "45", "en"),
    ("5_6", "56", "en"),
    ("-5 degrees", "5 degrees", "en"),
    ("(5)", "-5", "en"),
    (".5 l", "5 l", "en"),
    (".5", "5", "en"),
    ("<5", "5", "en"),
    ("> 5 m", "5 m", "en"),
    ("±5", "5", "en"),
    ("--5", "-5", "en"),
    ("--5", "5", "en"),
    ("+-5", "-5", "en"),
    ("++5", "5", "en"),
    ("--5 degrees", "-5 degrees", "en"),
    ("–5", "5", "en"),
    ("50%", "0.5", "en"),
    ("50‰", "50", "en"),
    ("50‰", "50%", "en"),
    ("10⁶", "106", "en"),
    ("C-", "C", "en"),
    ("A", "A-", "en"),
    ("5 percent", "$5", "en"),
    ("", "Paris", "en"),
    ("The", "A", "en"),
    ("<think>Paris</think>", "Paris", "en"),
]


@pytest.mark.parametrize(("answer", "gold", "language"), EQUAL)
def test_qa_equal_answer_scores_1(answer: str, gold: str, language: str) -> None:
    assert QuestionAnswer()(answer, gold, language).value == 1.0
    assert QuestionAnswer(language=language)(answer, ["something else", gold]).value == 1.0


@pytest.mark.parametrize(("answer", "gold", "language"), DIFFERENT)
def test_qa_other_answer_scores_0(answer: str, gold: str, language: str) -> None:
    assert QuestionAnswer()(answer, gold, language).value == 0.0


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ({"text": ["Denver Broncos", "Broncos"], "answer_start": [1, 2]}, "Broncos", "Panthers"),
        ({"value": "Paris", "aliases": ["City of Light"]}, "city of light", "Lyon"),
        ({"number": "3", "date": {"day": "", "month": "", "year": ""}, "spans": []}, "three", "4"),
        (
            {"number": "", "date": {"day": "5", "month": "March", "year": "1990"}, "spans": []},
            "1990-03-05",
            "1990",
        ),
        ({"number": "", "date": {}, "spans": ["Bob", "Sam"]}, "Sam and Bob", "Bob"),
        (True, "yes", "no"),
        (False, "No.", "yes"),
        (42, "42", "43"),
        (["a dog", "a cat"], "cat", "cow"),
    ],
)
def test_qa_references_of_data_sets_are_read(reference: Any, right: str, wrong: str) -> None:
    verifier = QuestionAnswer()
    assert verifier(right, reference).value == 1.0
    assert verifier(wrong, reference).value == 0.0
    gold = verifier.gold_completion(reference)
    assert gold is not None
    assert verifier(gold, reference).value == 1.0


@pytest.mark.parametrize(
    "reference",
    ["", None, [], "n/a", float("nan"), {}, {"text": []}, {"spans": []}, {"a": 1}, [["x"]], object()],
)
def test_qa_unreadable_reference_fails(reference: Any) -> None:
    assert QuestionAnswer()("Paris", reference).failure is Failure.REFERENCE
    assert QuestionAnswer().gold_completion(reference) is None


def test_qa_question_without_an_answer_accepts_the_phrases() -> None:
    verifier = QuestionAnswer(no_answer=["unanswerable", "no answer"])
    assert verifier("No answer.", {"text": [], "answer_start": []}).value == 1.0
    assert verifier("Paris", {"text": [], "answer_start": []}).value == 0.0
    assert verifier("unanswerable", {"text": ["Paris"]}).value == 0.0


def test_qa_f1_counts_shared_words_and_characters() -> None:
    verifier = QuestionAnswer("f1")
    assert verifier("the big dog", "a dog").value == pytest.approx(2 / 3)
    assert verifier("北京市", "北京", "zh").value == pytest.approx(0.8)
    assert verifier("Bob; Sam Smith", {"spans": ["Sam", "Bob"]}).value == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("first", "second"), [("1,000", "1000"), ("the Paris", "paris"), ("May 1, 2020", "2020-05-01")]
)
def test_qa_same_answer_is_equality_of_values(first: str, second: str) -> None:
    assert QuestionAnswer().same_answer(first, second)
    assert not QuestionAnswer().same_answer(first, "other")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("1000.0", "1,000"), ("twelve", "12"), ("2020-05-01", "May 1, 2020"), ("big city", "big-city")],
)
def test_qa_f1_of_an_equal_answer_is_1(answer: str, gold: str) -> None:
    assert QuestionAnswer("f1")(answer, gold).value == 1.0


@given(
    st.decimals(-999, 9999, places=3), st.decimals(-999, 9999, places=3), st.sampled_from(["", " kg", " °C"])
)
def test_qa_numbers_within_a_text_are_equal_by_value(first: Any, second: Any, unit: str) -> None:
    score = QuestionAnswer(extraction="whole")(f"{first:,}{unit}", f"{second}{unit}")
    assert score.value == float(first == second)


WORDS = st.lists(
    st.sampled_from(["a", "the", "Paris", "big-city", "St.", "1990", "café", "it's"]), max_size=6
)


@given(WORDS, WORDS)
def test_qa_english_words_agree_with_squad(answer: list[str], gold: list[str]) -> None:
    squad = pytest.importorskip("transformers.data.metrics.squad_metrics")
    ours, theirs = " ".join(answer), " ".join(gold)
    if not squad.normalize_answer(theirs) or not squad.normalize_answer(ours):
        return
    verifier = QuestionAnswer("f1", extraction="whole")
    assert verifier(ours, theirs).value == pytest.approx(squad.compute_f1(theirs, ours))
    if squad.compute_exact(theirs, ours):
        assert QuestionAnswer(extraction="whole")(ours, theirs).value == 1.0


@given(st.text(max_size=80), st.sampled_from(["en", "de", "fr", "ar", "zh", "xx"]))
def test_qa_any_text_equals_itself_and_gets_a_score(text: str, language: str) -> None:
    assert QuestionAnswer("f1", extraction="whole")(text, "Paris", language).value is not None
    if text.strip():
        assert QuestionAnswer(language=language).same_answer(text, text)


def test_qa_explains_what_is_accepted() -> None:
    assert QuestionAnswer()("Rome", ["Paris", "Lutetia"]).explanation == "accepted is Paris or Lutetia"
    assert QuestionAnswer()("Paris", ["Paris", "Lutetia"]).explanation == ""


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("minus 5", "-5", 1.0),
        ("negative five", "-5", 1.0),
        ("minus 5", "5", 0.0),
        ("minus two hundred", "-200", 1.0),
        ("fifty percent", "50%", 1.0),
        ("fifty percent", "50 per cent", 1.0),
        ("fifteen percent", "50%", 0.0),
        ("five dollars", "$5", 1.0),
        ("five euros", "$5", 0.0),
        ("a percent", "a euro", 0.0),
        ("two hundred and five", "205", 1.0),
        ("two hundred five", "250", 0.0),
        ("one thousand two hundred thirty-four", "1,234", 1.0),
        ("three million five hundred thousand", "3,500,000", 1.0),
        ("five hundred thousand three million", "3,500,000", 0.0),
        ("nineteen hundred", "1900", 1.0),
        ("one two", "12", 0.0),
        ("twenty ten", "30", 0.0),
        ("hundred and", "100", 0.0),
        ("five and six", "11", 0.0),
        ("**forty-two**", "42", 1.0),
        ("**2024-03-05**", "March 5, 2024", 1.0),
        ("__seven__", "7", 1.0),
        ("**Answer:** **seven**", "7", 1.0),
        ("vitamin", "vitamin A", 0.0),
        ("Vitamin A", "vitamin A", 1.0),
        ("vitamin a", "vitamin A", 1.0),
        ("hepatitis A", "hepatitis", 0.0),
    ],
)
def test_qa_words_for_numbers_emphasis_and_letters(answer: str, gold: str, value: float) -> None:
    assert QuestionAnswer()(answer, gold).value == value
