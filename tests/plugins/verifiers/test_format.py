"""The reasoning format: what keeps it, what breaks it, and what tries to be paid without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Outcome
from guerdon_plugins.verifiers.format import Format

GOOD = "<think>\nTwo and two make four.\n</think>\n<answer>\n4\n</answer>"
PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<Think>",
    "a",
    " ",
    "\n",
    "1. a\n",
    ".",
    "\u200b",
    "```",
]


def value(completion: str, **params: object) -> float:
    score = Format(**params)(completion)  # type: ignore[arg-type]
    assert score.value is not None
    assert bool(score.explanation) == (score.value < 1)
    return score.value


def test_the_format_scores_1() -> None:
    assert value(GOOD) == 1.0
    assert value("  " + GOOD + "\n\n") == 1.0
    assert value("<think>a</think><answer>b</answer>") == 1.0


@pytest.mark.parametrize(
    "completion",
    [
        pytest.param("", id="nothing"),
        pytest.param("4", id="no tags"),
        pytest.param("<think></think><answer></answer>", id="empty tags"),
        pytest.param("<think>\n \t</think><answer>4</answer>", id="empty reasoning"),
        pytest.param("<think>...</think><answer>4</answer>", id="only punctuation"),
        pytest.param("<think>\u200b\u2800\u3164</think><answer>4</answer>", id="invisible characters"),
        pytest.param("<answer>4</answer><think>a</think>", id="wrong order"),
        pytest.param("<think>a<answer>4</answer></think>", id="nested"),
        pytest.param("<think>a<answer></think>4</answer>", id="crossed"),
        pytest.param("<think>a</think><answer>4", id="cut off"),
        pytest.param("</think>a<think><answer>4</answer>", id="closed before opened"),
        pytest.param(GOOD + GOOD, id="twice"),
        pytest.param("<think>a</think>" * 50 + "<answer>4</answer>", id="tag farming"),
        pytest.param(GOOD.replace("four", "<think> four"), id="tag within its block"),
        pytest.param("<Think>a</Think><answer>4</answer>", id="other case"),
        pytest.param("< think >a</ think ><answer>4</answer>", id="spaces in the tag"),
        pytest.param(GOOD + "< Think >b</ Think >", id="second block with other spelling"),
        pytest.param("<think x='1'>a</think><answer>4</answer>", id="attributes"),
        pytest.param(GOOD + " or rather 5", id="contradiction after the answer"),
        pytest.param("4 " + GOOD, id="answer before thinking"),
        pytest.param("<think>a</think> so <answer>4</answer>", id="text between"),
    ],
)
def test_everything_else_scores_0(completion: str) -> None:
    assert value(completion) == 0.0


def test_text_outside_the_tags_is_fine_unless_strict() -> None:
    assert value("Well: <think>a</think> so <answer>4</answer>.", strict=False) == 1.0


def test_a_prefilled_template_has_opened_the_first_tag() -> None:
    assert value("Two.</think><answer>4</answer>", prefilled=True) == 1.0
    assert value(GOOD, prefilled=True) == 0.0
    assert value("</think>", prefilled=True) == 0.0
    assert value("</think><answer>4</answer>", prefilled=True) == 0.0


def test_a_free_answer_follows_the_tags() -> None:
    params = {"tags": ["think"], "free_answer": True}
    assert value("<think>a</think> It is 4.", **params) == 1.0
    assert value("<think>a</think>  ", **params) == 0.0
    assert value("Hm <think>a</think> 4", **params) == 0.0
    assert value("a</think> 4", **params, prefilled=True) == 1.0


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("1. Add two.\n2. Get four.", 1.0),
        ("Step 1: Add two.\nSo far so good.\nStep 2: Get four.", 1.0),
        ("### Step 1: Add\n**Step 2**: get", 1.0),
        ("第1步：相加。\n第2步：得四。", 1.0),
        ("1. Add\n   1. first\n   2. second\n2. get", 1.0),
        ("1. Add `a`:\n```\n7. not a step\n```\n2. get", 1.0),
        ("Add two.", 0.0),
        ("1. Add\n3. get", 0.0),
        ("2. Add\n3. get", 0.0),
        ("1. Add\n1. get", 0.0),
        ("1.\n2.\n3. get", 0.0),
        ("1.5 apples are left", 0.0),
    ],
)
def test_numbered_steps(reasoning: str, expected: float) -> None:
    assert value(f"<think>{reasoning}</think><answer>4</answer>", numbered_steps=True) == expected


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("- a\n- b", 1.0),
        ("- a\n* b", 0.0),
        ("1. a\n2. b", 1.0),
        ("1. a\n2) b", 0.0),
        ("2 × 3 = 6", 1.0),
        ("2 × 3 = 6, 2 * 3 = 6", 0.0),
        ("2 × 3 = 6, `2 * 3`", 1.0),
        ("$x$ and $y$", 1.0),
        ("$x$ and \\(y\\)", 0.0),
        ("先算，再看。", 1.0),
        ("先算，再看,好", 0.0),
    ],
)
def test_uniform_symbols(reasoning: str, expected: float) -> None:
    assert value(f"<think>{reasoning}</think><answer>x</answer>", uniform_symbols=True) == expected


def test_partial_credit_is_the_share_of_rules_kept() -> None:
    assert value(GOOD, partial_credit=True) == 1.0
    assert value(GOOD + " more", partial_credit=True) == pytest.approx(3 / 4)
    assert value("<think>a</think> 4", partial_credit=True) == pytest.approx(1 / 4)
    assert value("<think>a</think>" * 2, partial_credit=True) == 0.0
    assert value("<think>a<answer>4</answer></think>", partial_credit=True) == pytest.approx(1 / 4)
    assert value("", partial_credit=True) == 0.0


@pytest.mark.parametrize("tags", [[], ["think", "think"], ["think", "Think"], ["<think>"], [""]])
def test_tags_that_are_not_tags_are_refused(tags: list[str]) -> None:
    with pytest.raises(ValueError, match=r"tags is|is not a tag"):
        Format(tags=tags)


def test_format_with_marks_in_place_of_names_is_kept_by_them_alone() -> None:
    tags = {"tags": ["[THINK] [/THINK]", "answer"]}
    assert value("[THINK]why[/THINK]<answer>4</answer>", **tags) == 1.0
    assert value("[THINK]why[/THINK][THINK]more[/THINK]<answer>4</answer>", **tags) == 0.0
    assert value("[think]why[/think]<answer>4</answer>", **tags) == 0.0
    assert value("<think>why</think><answer>4</answer>", **tags) == 0.0
    assert value("why[/THINK]<answer>4</answer>", prefilled=True, **tags) == 1.0


@given(
    st.lists(st.sampled_from(PIECES)).map("".join) | st.text(),
    st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in (
                "strict",
                "prefilled",
                "free_answer",
                "numbered_steps",
                "uniform_symbols",
                "partial_credit",
            )
        }
    ),
)
def test_any_text_has_a_score_in_range_and_always_the_same(completion: str, params: dict[str, bool]) -> None:
    score = Format(**params)(completion)  # type: ignore[arg-type]
    assert score.outcome is Outcome.SCORED
    assert score.value is not None
    assert 0 <= score.value <= 1
    assert Format(**params)(completion) == score  # type: ignore[arg-type]
    if score.value == 1:
        stricter = completion + "<think>"
        assert value(stricter, **params) < 1
