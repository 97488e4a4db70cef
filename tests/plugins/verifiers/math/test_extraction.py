"""Where the answer of a completion is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.verifiers.math import extract


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"so $\boxed{7}$.", "7"),
        (r"\boxed{5}, no: a factor was lost. It is \boxed{7}.", "7"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed {7}", "7"),
        (r"\boxed 7.", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\boxed{7}}", r"\boxed{7}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{2} and \boxed{3}", "2, 3"),
        (r"$\boxed{2}$, $\boxed{3}$ or $\boxed{5}$", "2, 3, 5"),
        (r"$x=\boxed{2}$ and $y=\boxed{3}$", "2, 3"),
        (r"\boxed{1} paper and \boxed{2} bins", "1, 2"),
        (r"\boxed{7}. Indeed \boxed{7}", "7"),
        (r"\boxed{5} is too small. But \boxed{7} fits.", "7"),
        (r"\boxed{7} \boxed{8", "7"),
        (r"<think>\boxed{5}</think>\boxed{7}", "7"),
        (r"no tags: \boxed{7}", "7"),
    ],
)
def test_the_last_box_after_the_reasoning(completion: str, answer: str):
    assert extract(completion).answer == answer


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        ("7", "boxed"),
        (r"\boxed{7", "boxed"),
        (r"\boxed{}", "empty"),
        (r"\boxed{7} but then \boxed{ }", "empty"),
        (r"<think>\boxed{7}", "never ends"),
        (r"<think>\boxed{7}</think> so 7", "boxed"),
    ],
)
def test_no_answer_says_why(completion: str, problem: str):
    found = extract(completion)
    assert found.answer is None
    assert problem in found.problem


@pytest.mark.parametrize(
    ("mode", "completion", "answer"),
    [
        ("answer", "<think>a</think><answer> 7 </answer>", " 7 "),
        ("answer", r"<answer>It is \boxed{7}.</answer>", "7"),
        ("hashes", "He has 7.\n#### 7\nThat is all.", "7"),
        ("line", "Some steps.\n**Answer:** 7", "7"),
        ("line", "Some steps.\nFinal answer: $7$\n", "$7$"),
        ("whole", "7", "7"),
        ("auto", r"#### 8 and \boxed{7}", "7"),
        ("auto", "<answer>7</answer>", "7"),
        ("auto", "#### 7", "7"),
    ],
)
def test_other_places(mode, completion: str, answer: str):
    assert extract(completion, mode).answer == answer


def test_an_unknown_mode_names_the_valid_ones():
    with pytest.raises(ValueError, match="boxed, answer, hashes, line, whole, auto: 'box'"):
        extract("7", "box")  # type: ignore[arg-type]


# Without "<", because a tag of the reasoning ends it wherever it stands.
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\\{}<"), min_size=1))
def test_a_box_gives_back_what_was_put_in(text: str):
    found = extract(f"so \\boxed{{{text}}}.")
    assert (found.answer or "").strip() == text.strip()
