"""The plugin: scores, their evidence, references, and the policies that its params set."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy
import pytest

from guerdon import Failure, Outcome
from guerdon_plugins.verifiers.math import MathOutcome, MathVerifier, Policy, check_references, compare


def verdict(answer: str, reference: Any, **params: Any) -> bool:
    return bool(MathVerifier(**params)(f"so $\\boxed{{{answer}}}$.", reference).value)


def test_a_score_carries_its_evidence() -> None:
    score = MathVerifier()(r"$\boxed{x^2+1}$", "x^2+2")
    assert score.value == 0.0
    assert score.answer == "x^2+1"
    assert score.explanation == "the expressions differ"
    assert score.metadata == {
        "outcome": "incorrect",
        "tier": "modular",
        "witness": "at x = 2: 5.0 against 6.0",
    }
    json.dumps(score.to_dict())
    assert pickle.loads(pickle.dumps(score)) == score


def test_what_is_wrong_unreadable_or_absent_scores_zero() -> None:
    verifier = MathVerifier()
    judged = {
        r"\boxed{8}": "incorrect",
        r"\boxed{7?8}": "unparseable_answer",
        "I do not know": "no_answer",
        r"\boxed{" + "(" * 500 + "8" + ")" * 500 + "}": "guard",
    }
    for completion, outcome in judged.items():
        score = verifier(completion, "7")
        assert (score.value, score.metadata["outcome"]) == (0.0, outcome)
        assert score.explanation


@pytest.mark.parametrize(
    "reference",
    ["", "7?8", r"\frac{1}", "$$", None, [], {"answer": "7"}, [["7"]], float("nan"), "8" * 20_000],
)
def test_an_unreadable_reference_is_a_failure_and_no_zero(reference: Any) -> None:
    score = MathVerifier()(r"\boxed{7}", reference)
    assert score.value is None
    assert score.outcome is Outcome.FAILED
    assert score.failure is Failure.REFERENCE


@pytest.mark.parametrize(
    "reference",
    [
        7,
        7.0,
        "7",
        "$7$",
        "$$7$$",
        r"\(7\)",
        r"\[7\]",
        r"\boxed{7}",
        r"so it is $\boxed{7}$.",
        "4+3=<<4+3=7>>7\n#### 7",
    ],
)
def test_references_in_every_form_that_data_sets_have(reference: Any) -> None:
    assert verdict("7", reference)
    assert not verdict("8", reference)


def test_small_and_large_json_numbers_keep_their_value() -> None:
    assert verdict("0.00000012", 1.2e-07)
    assert verdict(str(10**30), 10**30)
    assert not verdict(str(10**30 + 1), 10**30)


@pytest.mark.parametrize(
    ("params", "answer", "reference"),
    [
        ({"decimal_tolerance": 0.001}, "0.3333", r"\frac13"),
        ({"decimal_tolerance": 0.001}, "3.14159", r"\pi"),
        ({"percent": "optional"}, r"25\%", "25"),
        ({"percent": "optional"}, "25", r"25\%"),
        ({"units": "ignore"}, r"10\text{ m}", r"10\text{ cm}"),
        ({"plus_c": True}, r"\frac{x^3}{3}", r"\frac{x^3}{3}+C"),
        ({"unevaluated": True}, r"\sum_{k=1}^{10} k", "55"),
        ({"unevaluated": True}, r"\prod_{k=1}^{5} k", "120"),
        ({"unevaluated": True}, r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"),
    ],
)
def test_a_policy_is_strict_until_a_param_says_otherwise(
    params: dict[str, Any], answer: str, reference: str
) -> None:
    assert not verdict(answer, reference)
    assert verdict(answer, reference, **params)


@pytest.mark.parametrize(
    ("params", "answer", "reference"),
    [
        ({"decimal_tolerance": 0.001}, "0.34", r"\frac13"),
        ({"decimal_tolerance": 0.001}, "334", "333"),
        ({"units": "compare"}, r"120\text{ minutes}", r"2\text{ hours}"),
        ({"units": "compare"}, r"36\text{ km/h}", r"10\text{ m/s}"),
        ({"units": "convert"}, r"2\text{ hours}", r"2\text{ minutes}"),
        ({"units": "convert"}, r"2\text{ m}", r"2\text{ hours}"),
        ({"plus_c": True}, r"\frac{x^3}{4}", r"\frac{x^3}{3}+C"),
        ({"unevaluated": True}, r"\sum_{k=1}^{10} k", "56"),
    ],
)
def test_a_lenient_policy_still_refuses_what_is_wrong(
    params: dict[str, Any], answer: str, reference: str
) -> None:
    assert not verdict(answer, reference, **params)


@pytest.mark.parametrize(
    "params",
    [
        {"extraction": "last"},
        {"decimal_tolerance": -1},
        {"decimal_tolerance": 1.0},
        {"percent": "yes"},
        {"units": "yes"},
    ],
)
def test_params_out_of_range(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        MathVerifier(**params)


def test_the_identity_test_names_the_rows_at_fault() -> None:
    problems = check_references(["7", "7?8", r"\frac{1}{2}", None, r"\frac{1}"])  # type: ignore[list-item]
    assert [problem.index for problem in problems] == [1, 3, 4]
    assert all(problem.reason for problem in problems)


def test_a_chain_must_be_true() -> None:
    assert compare("A = 3 \\cdot 7 = 21", "21")
    broken = compare("3 \\cdot 7 = 20 = 21", "21")
    assert broken.outcome is MathOutcome.INCORRECT
    assert "a step of the chain is false" in broken.reason


@pytest.mark.parametrize(
    "answer", ["12+30", "x = 12 + 30", "6 \\times 7", "-(2 - 44)", "(12)+(30)", "12 + 30\\text{ cm}", "2(21)"]
)
def test_a_calculation_left_to_do_is_not_an_answer_unless_asked_for(answer: str) -> None:
    assert not verdict(answer, "42")
    assert verdict(answer, "42", calculations=True)
    assert not compare(answer, "42")
    assert compare(answer, "42", Policy(calculations=True))


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("\\frac{84}{2}", "42"),
        ("4.2 \\times 10^{1}", "42"),
        ("2.5\\text{ million}", "2500000"),
        ("2^3", "8"),
        ("5!", "120"),
        ("2\\frac{1}{2}", "2.5"),
        ("75\\%", "0.75"),
        ("12 + 30 = 42", "42"),
        ("2\\sqrt{2} + 1", "1 + 2\\sqrt{2}"),
        ("3 \\cdot 7", "3 \\cdot 7"),
    ],
)
def test_other_ways_to_write_a_number_are_answers(answer: str, reference: str) -> None:
    assert verdict(answer, reference)


@pytest.mark.parametrize("reference", ["B", "(B)", "\\text{(B)}", "\\textbf{(B)}"])
@pytest.mark.parametrize(
    "answer",
    [
        "(B)\\ 12",
        "(B) 12",
        "B) 12",
        "B. 12",
        "B: 12",
        "\\text{B. }12",
        "\\text{B) 12}",
        "\\text{(B) }12",
        "(B)\\;\\frac12",
        "B. f(x) = 2x",
        "(B) I and II only",
        "\\text{Option B: 12}",
    ],
)
def test_an_option_may_bring_what_it_says(answer: str, reference: str) -> None:
    assert verdict(answer, reference)
    assert not verdict(answer, "C")
    assert not verdict(answer, "13")


@pytest.mark.parametrize(
    "answer", ["(B)\\ 12", "(B) 12", "B. 12", "\\text{(B) }12", "\\textbf{(B) 12}", "\\textbf{(B)}\\ 12"]
)
def test_the_text_of_an_option_answers_a_reference_without_options(answer: str) -> None:
    assert verdict(answer, "12")
    assert not verdict(answer, "13")
    assert not verdict(f"{answer} or (C) 13", "12")


@pytest.mark.parametrize(
    "answer",
    [
        "(B)(C)",
        "(B), (C)",
        "B. C.",
        "B or C",
        "B) 12, C) 13",
        "(B)\\text{ or }C",
        "(B) 12 or C",
        "\\text{(B) 1 (C) 2}",
    ],
)
def test_two_options_are_a_guess(answer: str) -> None:
    assert not verdict(answer, "B")
    assert not verdict(answer, "C")


def test_answers_that_say_the_same_without_a_reference() -> None:
    same = MathVerifier().same_answer
    assert same("\\frac12", "0.5")
    assert same("B. 12", "B")
    assert same("B", "B. 12")
    assert not same("B. 12", "C. 12")
    assert not same("7?8", "7")
    assert not same("10\\text{ cm}", "10\\text{ m}")


@pytest.mark.parametrize("answer", [r"120\text{ minutes}", r"2\text{ h}", "7200 s"])
def test_units_by_default_are_converted(answer: str) -> None:
    assert verdict(answer, r"2\text{ hours}")


@pytest.mark.parametrize("reference", ["B. 12", r"\textbf{(B)}\ 12", "(B) 12", r"\text{(B) }12", "B) $12$"])
def test_reference_of_an_option_with_its_text_accepts_either(reference: str) -> None:
    accepted = ["B", "(B)", r"\text{B}", "12", "B. 12", r"\text{(B)}\ 12", "(B) 12"]
    refused = ["C", "13", "B. 13", "C. 12", "(C) 12", r"\text{(A)}", "B or C"]
    assert [answer for answer in accepted if not verdict(answer, reference)] == []
    assert [answer for answer in refused if verdict(answer, reference)] == []


def test_answer_that_is_an_option_with_another_text_is_not_the_number() -> None:
    assert not verdict("B. 13", "12")
    assert not verdict(r"\text{(B) 13}", "12")


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (["2"], "2"),
        (["2", "3"], "3"),
        (("1/2", 7), "0.5"),
        ([r"\frac{1}{2}", "0.25"], "1/4"),
        (True, "True"),
        (True, r"\text{yes}"),
        (False, "false"),
        (False, "No"),
        (numpy.int64(2), "2"),
        (numpy.float64(2.5), r"\frac52"),
        (numpy.bool_(True), "true"),
        (numpy.str_("x+1"), "1+x"),
        (numpy.array(["2", "3"]), "3"),
        (numpy.array([2, 3]), "2"),
    ],
)
def test_reference_that_is_not_text_accepts_each_of_its_answers(reference: Any, answer: str) -> None:
    assert verdict(answer, reference)
    assert not verdict("99", reference)


def test_reference_with_an_unreadable_accepted_answer_fails() -> None:
    assert MathVerifier()(r"\boxed{7}", ["7", "7?8"]).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "completion",
    [
        r"[THINK]maybe \boxed{3}[/THINK]It is four.",
        r"<reasoning>maybe \boxed{3}</reasoning>It is four.",
        r"<Think>a \boxed{3}</Think> no",
        r"<thinking>a \boxed{3}</thinking> no",
        r"<|channel|>analysis<|message|>a \boxed{3}<|end|><|channel|>final<|message|>no",
        r"◁think▷a \boxed{3}◁/think▷ no",
        r"<|begin_of_thought|>a \boxed{3}<|end_of_thought|> no",
    ],
)
def test_box_in_the_reasoning_of_any_model_family_does_not_count(completion: str) -> None:
    assert MathVerifier()(completion, "3").value == 0.0
    assert MathVerifier()(f"{completion} \\boxed{{3}}", "3").value == 1.0


def test_reasoning_of_any_model_family_that_never_ends_holds_no_answer() -> None:
    for opening in ("<think>", "<reasoning>", "[THINK]", "◁think▷", "<|channel|>analysis<|message|>"):
        score = MathVerifier()(f"{opening}a \\boxed{{3}}", "3")
        assert score.value == 0.0
        assert "never ends" in (score.explanation or "")


def test_reasoning_tags_as_a_param_are_the_only_ones() -> None:
    verifier = MathVerifier(reasoning_tags=["plan"])
    assert verifier(r"<plan>\boxed{3}</plan>no", "3").value == 0.0
    assert verifier(r"<think>no</think>\boxed{3}", "3").value == 1.0
    with pytest.raises(ValueError, match="a b c"):
        MathVerifier(reasoning_tags=["a b c"])


@pytest.mark.parametrize("reference", ["N/A", "None", "proof", "notfound", "nan", float("nan"), "not found"])
def test_verifier_placeholder_for_a_reference_fails_as_reference(reference: str | float) -> None:
    score = MathVerifier()("\\boxed{3}", reference)
    assert (score.value, score.failure) == (None, Failure.REFERENCE)
    assert "missing answer" in score.explanation or "not a number" in score.explanation
    assert check_references([reference])


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("(6,31,-1)", "[6,31,-1)", False),
        ("(6,31,-1)", "(6,31,-1]", False),
        ("1,2,3", "[1,2,3)", False),
        (r"\begin{pmatrix}1\\2\\3\end{pmatrix}", "(1,2,3]", False),
        ("5", "5:1", False),
        ("0", "0:1", False),
        ("5:1", "10:2", True),
        ("1/5", "1:5", True),
        ("5:1", "5", True),
    ],
)
def test_brackets_of_a_list_match_and_a_ratio_is_not_a_whole_number(
    reference: str, answer: str, right: bool
) -> None:
    assert verdict(answer, reference) is right
