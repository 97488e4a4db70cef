"""Texts and patterns: whole words in any script, and no pattern runs for ever."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon.errors import MissingDependencyError
from guerdon_plugins.verifiers.match import Match


@pytest.mark.parametrize(
    ("mode", "text", "reference", "value"),
    [
        ("equal", "Paris", "paris", 1.0),
        ("equal", "<think>x</think>\n<answer>Paris</answer>", "Paris", 1.0),
        ("equal", "Paris.", "Paris", 0.0),
        ("equal", "cafe\u0301", "café", 1.0),
        ("equal", "42", 42, 1.0),
        ("equal", "b", ["a", "b"], 1.0),
        ("includes", "I know it", "no", 0.0),
        ("includes", "oh no, it", "no", 1.0),
        ("includes", "我爱北京天安门", "北京", 1.0),
        ("includes", "know no", "no", 1.0),
        ("includes", "हिन्दी है", "है", 1.0),
        ("includes", "it is 1.5", "5", 0.0),
        ("includes", "it is 5.2", "5", 0.0),
        ("includes", "1,500 or more", "500", 0.0),
        ("includes", "1,500 or more", "1", 0.0),
        ("includes", "x = -5", "5", 0.0),
        ("includes", "x = −5", "5", 0.0),
        ("includes", "x = -5", "-5", 1.0),
        ("includes", "pages 3-5, and so on", "5", 1.0),
        ("includes", "it is 5.", "5", 1.0),
        ("includes", "1, 5, 7", "5", 1.0),
        ("includes", "water is H2O", "h", 0.0),
        ("includes", "agent no7", "no", 0.0),
        ("includes", "共5个", "5", 1.0),
        *(
            ("includes", f"it is {expression}", "3", 0.0)
            for expression in (
                *(
                    "3/4",
                    "1/3",
                    "3⁄4",
                    "x/3",
                    "3^2",
                    "2^3",
                    "3^-2",
                    "3^{2}",
                    "x^3",
                    "2**3",
                    "3**2",
                    "3×4",
                    "4·3",
                ),
                *(
                    "3*4",
                    "2+3",
                    "3+x",
                    "(1)/3",
                    "√3",
                    "±3",
                    "3½",
                    "3²",
                    "2₃",
                    "3:45",
                    "1:3",
                    "3_000",
                    "3'000",
                ),
                *("3’000", "3٫5", "1e-3", "5E−3"),
            )
        ),
        *(
            ("includes", expression, "3", 1.0)
            for expression in (
                *(
                    "**3**",
                    "_3_",
                    "答案是**3**。",
                    "Answer:3",
                    "x=3",
                    "(3)",
                    "3!",
                    "3%",
                    "$3",
                    "3 / 4",
                    "+3",
                    "2-3",
                ),
                *("/3/", "*3", "3:", "- **3** + 4", "3*"),
            )
        ),
        ("includes", "x = 1/3.", "1/3", 1.0),
        ("ends", "x = 1/3", "3", 0.0),
        ("starts", "3^2 is it", "3", 0.0),
        ("starts", "5.2 m", "5", 0.0),
        ("ends", "it is 1.5", "5", 0.0),
        ("starts", "Yes, it is", "yes", 1.0),
        ("starts", "Yesterday", "yes", 0.0),
        ("starts", "oh yes", "yes", 0.0),
        ("ends", "It is Paris", "paris", 1.0),
        ("ends", "Comparis", "paris", 0.0),
        ("ends", "is", "Paris", 0.0),
        ("pattern", "a1b2", r"(\w\d)+", 1.0),
        ("pattern", "a1b2!", r"(\w\d)+", 0.0),
        ("pattern", "ПРИВЕТ", r"\p{L}+", 1.0),
        ("pattern", "Z", ["a", "z"], 1.0),
    ],
)
def test_match_mode_compares_as_named(mode: Any, text: str, reference: Any, value: float) -> None:
    assert Match(mode)(text, reference).value == value


def test_match_all_items_of_a_list() -> None:
    verifier = Match("includes", lists="all")
    assert verifier("red and blue", ["red", "blue"]).value == 1.0
    assert verifier("red", ["red", "blue"]).value == 0.0
    assert verifier.gold_completion(["red", "blue"]) == "red blue"


def test_match_case_counts_if_asked() -> None:
    assert Match(case_sensitive=True)("paris", "Paris").value == 0.0
    assert Match("pattern", "[a-z]+", case_sensitive=True)("Paris").value == 0.0


def test_match_catastrophic_pattern_is_a_timeout() -> None:
    assert Match("pattern", r"(a|a)*[bc]", limit_s=0.2)("a" * 40).failure is Failure.TIMEOUT
    assert Match("pattern", r"(?:(a+)+\1)+[bc]", limit_s=0.2)("a" * 3000).failure is Failure.TIMEOUT


@pytest.mark.parametrize("reference", ["", None, [], "n/a", {"a": 1}])
def test_match_unreadable_reference_fails(reference: Any) -> None:
    assert Match()("x", reference).failure is Failure.REFERENCE
    assert Match().gold_completion(reference) is None


@pytest.mark.parametrize("expression", ["(", "[a", "*", "(?P<a>x)(?P<a"])
def test_match_broken_pattern_is_an_error_or_a_reference_failure(expression: str) -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        Match("pattern", expression)
    assert Match("pattern")("x", expression).failure is Failure.REFERENCE


@pytest.mark.parametrize("params", [{"pattern": "a"}, {"limit_s": 0}])
def test_match_params_that_contradict_raise(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"pattern|limit_s"):
        Match(**params)


def test_match_pattern_without_regex_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'guerdon\[match\]'"):
        Match("pattern", "a")
    assert Match()("a", "a").value == 1.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_match_a_text_between_spaces_is_included(before: str, wanted: str) -> None:
    score = Match("includes", part="whole")(f"{before} {wanted} .", wanted)
    assert score.failure is Failure.REFERENCE or score.value == 1.0 or not wanted.split()


def test_match_explains_what_was_not_matched() -> None:
    assert Match()("Rome", "Paris").explanation == "the text does not match 'Paris' (equal)"
    assert Match()("Paris", "Paris").explanation == ""
