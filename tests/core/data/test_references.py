"""References: plain values, accepted answers, placeholders, and columns by path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.data.columns import column
from guerdon.data.references import accepted_answers, placeholder_reason, plain, plain_columns


@pytest.mark.parametrize(
    "value",
    [
        *(None, math.nan, np.float64("nan"), pd.NA, pd.NaT, math.inf, "", "  ", [], {}, (), np.array([])),
        *(
            "N/A",
            "n/a",
            "NA",
            "None",
            "none.",
            "null",
            "nan",
            "notfound",
            "not found",
            "No answer",
            "Proof",
            "proof.",
        ),
        *(
            "[None]",
            "<NA>",
            "?",
            "...",
            "-- ",
            "TBD",
            "略",
            "见解析",
            ["2", None],
            ["N/A"],
            np.array(["nan"]),
        ),
    ],
)
def test_placeholder_reason_of_a_gap_says_why(value: Any) -> None:
    assert placeholder_reason(value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            0,
            0.0,
            False,
            True,
            "0",
            "-1",
            "-",
            "n",
            "no",
            "x",
            "2/3",
            "no solution",
            "none of these",
            "proof of x",
        ),
        *(np.int64(2), ["1", "2"], {"a": 1}, "\\emptyset", "DNE", "A", "(-1, 2)", "无解", "unknowns"),
    ],
)
def test_placeholder_reason_of_an_answer_is_none(value: Any) -> None:
    assert placeholder_reason(value) is None


@given(st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists, max_leaves=5))
def test_placeholder_reason_of_anything_is_a_line_or_none(value: Any) -> None:
    reason = placeholder_reason(value)
    assert reason is None or (reason and "\n" not in reason)


@pytest.mark.parametrize(
    ("reference", "lists", "texts"),
    [
        ("2", "any", ["2"]),
        (["2", "two", "2"], "any", ["2", "two"]),
        (["2", "3"], "whole", ["(2, 3)"]),
        ((1, 2.5), "any", ["1", "2.5"]),
        (True, "any", ["true"]),
        (False, "any", ["false"]),
        (np.int64(2), "any", ["2"]),
        (np.float64(2.0), "any", ["2.0"]),
        (np.array([1, 2]), "whole", ["(1, 2)"]),
        (np.bool_(True), "any", ["true"]),
    ],
)
def test_accepted_answers_of_a_reference_are_texts(reference: Any, lists: Any, texts: list[str]) -> None:
    assert accepted_answers(reference, lists) == texts


@pytest.mark.parametrize("reference", [None, math.nan, [], {}, {"a": 1}, [["1"]], [None], object()])
def test_accepted_answers_of_something_else_is_refused(reference: Any) -> None:
    with pytest.raises(ValueError, match="the reference is"):
        accepted_answers(reference)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(2), 2),
        (np.float64(2.0), 2.0),
        (np.str_("a"), "a"),
        (np.array([[1, 2]]), [[1, 2]]),
        ([np.float64(1.0), "a"], [1.0, "a"]),
        ({"a": {"b": np.array(["x"], dtype=object)}}, {"a": {"b": ["x"]}}),
        (np.array([{"a": np.int32(1)}], dtype=object), [{"a": 1}]),
        (pd.NA, None),
    ],
)
def test_plain_of_library_types_returns_pythons(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert repr(plain(value)) == repr(expected)


def test_plain_columns_with_a_gap_holds_none() -> None:
    assert plain_columns({"a": math.nan, "b": np.float32("nan"), "c": 1}) == {"a": None, "b": None, "c": 1}


ROW = {
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 7, "a.b": 8},
    "messages": [{"content": "first"}, {"content": "last"}],
    "a.b": 1,
    "": 2,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("reward_model.ground_truth", "2"),
        ("extra_info.index", 7),
        ("extra_info.a.b", 8),
        ("messages.0.content", "first"),
        ("messages.-1.content", "last"),
        ("a.b", 1),
        ("", 2),
    ],
)
def test_column_by_path_returns_the_value(path: str, value: Any) -> None:
    assert column(ROW, path) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("reference", "there is no column 'reference', only reward_model"),
        ("reward_model.gold", "'reward_model' has no 'gold', only style, ground_truth"),
        ("messages.2.content", "'messages' has 2 items, so no '2'"),
        ("reward_model.style.x", "'reward_model.style' has the value 'rule', so no 'x'"),
    ],
)
def test_column_that_is_missing_says_where_the_path_ends(path: str, words: str) -> None:
    with pytest.raises(LookupError, match="there is no column") as caught:
        column(ROW, path)
    assert words in str(caught.value)


@given(st.dictionaries(st.text(), st.recursive(st.integers(), st.lists, max_leaves=4)), st.text())
def test_column_of_any_path_returns_or_raises_lookup_error(row: dict[str, Any], path: str) -> None:
    try:
        column(row, path)
    except LookupError:
        assert path not in row


@pytest.mark.parametrize(
    "text",
    [
        r"\text{See solution}",
        "Answers will vary.",
        "(See figure)",
        "The statement is proved.",
        "证明见解析",
        "图略",
        "omitted",
    ],
)
def test_placeholder_reason_of_a_note_names_a_missing_answer(text: str) -> None:
    assert "marks a missing answer" in (placeholder_reason(text) or "")


@pytest.mark.parametrize(
    "text",
    [r"\text{undefined}", "see", "proof by induction", "answer", "the statement is true", "图", "过程"],
)
def test_placeholder_reason_of_an_answer_in_words_is_none(text: str) -> None:
    assert placeholder_reason(text) is None
