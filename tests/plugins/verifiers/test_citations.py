"""Citations: sources exist, are the right ones and hold the quotes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.verifiers.citations import Citations

SOURCES = ["The Nile is in Africa.", "The Danube is in Europe.", "Sand is dry.", "Snow is cold."]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The Nile is in Africa [1]. The Danube is in Europe [2].", 1.0),
        ("Two rivers [1, 2].", 1.0),
        ("Two rivers [1-2].", 1.0),
        ("尼罗河［１］，多瑙河【2】。", 1.0),
        ('As it says, "The Nile is in Africa" [1][2].', 1.0),
        ("<think>[3]</think>Rivers [1] and [2] [sic].", 1.0),
        ("A river [1].", 2 / 3),
        ("All [1][2][3][4].", 0.0),
        ("Rivers and sand [1][2][3].", 0.8 / 2),
        ("\u3164 [1][2]", 0.0),
        ("A desert [3].", 0.0),
        ("Rivers [1][2][7].", 0.0),
        ("Rivers [1-9].", 0.0),
        ('"The Nile is in Asia" [1], [2].', 0.0),
        ('"The Nile is in Asia" ([1][2]).', 0.0),
        ("‘The Nile is in Asia’ [1][2].", 0.0),
        ("'The Nile is in Asia.' [1], [2]", 0.0),
        ("'The Nile is in Africa' ([1]), [2].", 1.0),
        ("The Nile's length and its delta's size [1][2].", 1.0),
        ("The 'long river' [1] and the Danube [2].", 1.0),
        ("[1][2]", 0.0),
        ("Rivers.", 0.0),
        ("", 0.0),
    ],
)
def test_citations_f1_of_the_cited_sources(text: str, value: float) -> None:
    assert Citations()(text, SOURCES, [1, "2"]).value == pytest.approx(value)


def test_citations_without_a_reference_only_exist() -> None:
    assert Citations(gold=False)("A desert [3].", SOURCES).value == 1.0
    assert Citations(gold=False, min_sources=2)("A desert [3].", SOURCES).value == 0.0
    assert Citations(gold=False)("A desert [9].", SOURCES, "").value == 0.0
    assert Citations()("A desert [3].", SOURCES).failure is Failure.REFERENCE


def test_citations_share_of_sentences() -> None:
    verifier = Citations(gold=False, every_sentence=True)
    assert verifier("Rivers flow [1]. They are wet. Really so [2].", SOURCES).value == pytest.approx(2 / 3)
    assert verifier("河流[1]。沙子很干。", SOURCES).value == 0.5
    assert verifier("Rivers flow. [1] They are wet [2].", SOURCES).value == 1.0


@pytest.mark.parametrize(
    "sources",
    [{"doc-1": "a b c", "doc-2": "d"}, [{"id": "doc-1", "text": "a b c"}, {"id": "DOC-2", "text": "d"}]],
)
def test_citations_ids_of_any_form(sources: Any) -> None:
    assert Citations()('It says "a b c" [Doc-1].', sources, "doc-1").value == 1.0
    assert Citations(gold=False)("It [doc-3].", sources).value == 0.0
    assert Citations(gold=False)("It [see below] [doc-2].", sources).value == 1.0


@pytest.mark.parametrize(
    "mark", ["[1]", "\\[1\\]", "[^1]", "[Source 1]", "【1†source】", "［１］", "[ 1 ]", "[[1]](http://x)"]
)
def test_citations_marks_in_an_unusual_layout_are_read(mark: str) -> None:
    assert Citations()(f"The Nile is in Africa {mark}.", SOURCES, [1]).value == 1.0


def test_citations_invented_quote_before_an_escaped_mark_scores_0() -> None:
    assert Citations()('It says "The Nile is in Asia" \\[1\\].', SOURCES, [1]).value == 0.0


def test_citations_copied_prompt_scores_0() -> None:
    prompt = "Which rivers? [1] The Nile is in Africa. [2] The Danube is in Europe."
    assert Citations()(f"Well: {prompt}", SOURCES, [1, 2], prompt).value == 0.0


@pytest.mark.parametrize(
    ("sources", "reference"),
    [
        (None, None),
        ([], None),
        ("text", None),
        ([1, 2], None),
        ({}, None),
        ([{"id": "a"}, {"id": "A"}], None),
        (SOURCES, []),
        (SOURCES, "9"),
        (SOURCES, [None]),
        (SOURCES, ""),
    ],
)
def test_citations_unreadable_row_fails(sources: Any, reference: Any) -> None:
    assert Citations()("A [1].", sources, reference).failure is Failure.REFERENCE


def test_citations_min_sources_below_1_raises() -> None:
    with pytest.raises(ValueError, match="min_sources"):
        Citations(min_sources=0)


@given(st.text(alphabet='[]1,2-3 a."【】。\n', max_size=60))
def test_citations_any_text_gets_a_share(text: str) -> None:
    value = Citations(every_sentence=True)(text, SOURCES, [1]).value
    assert value is not None
    assert 0 <= value <= 1


def test_citations_explain_a_value_below_1() -> None:
    score = Citations(every_sentence=True)("A river [1]. It flows.", SOURCES, ["1", "2"])
    assert score.explanation == "it cites 1; right is 1, 2; 50% of the sentences have a citation"


@pytest.mark.parametrize(
    "text", ["[" + " " * 90_000, "[a" + " " * 90_000, "a" + "[ " * 45_000, ". " + "[1 " * 30_000]
)
def test_citations_are_found_in_linear_time(text: str) -> None:
    started = time.thread_time()
    assert Citations()(text, ["a b", "c d"], ["1"]).value == 0.0
    assert time.thread_time() - started < 1.0
