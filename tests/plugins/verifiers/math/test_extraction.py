"""Where the answer of a completion is found."""

from __future__ import annotations

import time
from typing import Any

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
def test_the_last_box_after_the_reasoning(completion: str, answer: str) -> None:
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
def test_no_answer_says_why(completion: str, problem: str) -> None:
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
def test_other_places(mode: Any, completion: str, answer: str) -> None:
    assert extract(completion, mode).answer == answer


def test_an_unknown_mode_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="boxed, answer, hashes, line, end, whole, auto: 'box'"):
        extract("7", "box")  # type: ignore[arg-type]


# Without "<", because a tag of the reasoning ends it wherever it stands.
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\\{}<"), min_size=1))
def test_a_box_gives_back_what_was_put_in(text: str) -> None:
    found = extract(f"so \\boxed{{{text}}}.")
    assert (found.answer or "").strip() == text.strip()


@pytest.mark.parametrize(
    "completion",
    [
        "Answer: 5",
        "**Answer: 5**",
        "**Answer:** 5",
        "**Answer:** **5**",
        "**Answer**: 5",
        "__Answer: 5__",
        "*Answer: 5*",
        "### Answer: 5",
        "## Final Answer\n\n5",
        "### **Answer**\n**5**",
        "**Final Answer:**\n5",
        "Answer: `5`",
        "Answer: **5**",
        "> Answer: 5",
        "- **Answer**: 5",
        "The answer is 5",
        "The final answer is: 5",
        "So the answer is 5",
        "Therefore, the final answer is **5**",
        "ANSWER: 5",
        "Answer = 5",
        "答案：5",
        "**最终答案：** 5",
        "答案是5",
        "Answer: $\\boxed{5}$",
        "Answer: 4\nAnswer: 5",
        "**Final answer:**\n\n$$\n5\n$$",
        "### Final answer\n\\[\n5\n\\]\nwhich we checked.",
        "Answer: $$\n5\n$$",
        "### Final answer\n\n- **5**",
        "### Final answer\n- 5",
        "**Answer**\n\n* 5",
    ],
)
def test_line_of_an_answer_in_markdown_is_found(completion: str) -> None:
    assert extract(f"Some steps: 3 + 1 = 4.\n{completion}\n", "line").answer == "5"


@pytest.mark.parametrize(
    ("under", "answer"),
    [
        ("- \\(\\sqrt{3}\\)", "\\(\\sqrt{3}\\)"),
        ("-5", "-5"),
        ("-$5$", "-$5$"),
        ("- $-5$", "$-5$"),
        ("- $2$\n- $3$", "$2$, $3$"),
        ("* $2$\n\n* $3$", "$2$, $3$"),
        ("1. $2$\n2. $3$", "$2$, $3$"),
        ("- x = 2\n- y = 3", "x = 2, y = 3"),
        ("$x=2$,\n$y=3$", "$x=2$, $y=3$"),
        ("$$x=2$$\nor\n$$x=3$$", "x=2, x=3"),
        ("2\n3", "2, 3"),
        ("(a) $3$\n(b) $4$", "(a) $3$ (b) $4$"),
        ("2.5\nmetres", "2.5"),
    ],
)
def test_all_under_the_heading_of_an_answer_is_one_answer(under: str, answer: str) -> None:
    assert extract(f"So it is.\n\n### Final answer\n\n{under}\n", "line").answer == answer


@pytest.mark.parametrize(
    "completion",
    ["The answers differ", "Answering: 5 is", "No line here: 5", "my question and answer 5"],
)
def test_line_without_an_answer_is_not_found(completion: str) -> None:
    assert extract(completion, "line").answer is None


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("(a) \\boxed{3}\n(b) \\boxed{4}", "3, 4"),
        ("**(a)** So \\boxed{3}.\n\n**(b)** Then \\boxed{4}.", "3, 4"),
        ("a) $\\boxed{3}$\nb) $\\boxed{4}$\nc) $\\boxed{5}$", "3, 4, 5"),
        ("Part (i): \\boxed{3}\nPart (ii): \\boxed{4}", "3, 4"),
        ("(1) $\\boxed{3}$\n(2) $\\boxed{4}$", "3, 4"),
        ("The value of x is \\boxed{3} and the value of y is \\boxed{4}.", "3, 4"),
        ("$x = \\boxed{3}$, and $y = \\boxed{4}$", "3, 4"),
        ("Step 1: \\boxed{3}.\nStep 2: \\boxed{4}.", "4"),
        ("First \\boxed{3} and therefore the answer is \\boxed{4}.", "4"),
        ("(b) \\boxed{3}\n(a) \\boxed{4}", "4"),
        ("(a) \\boxed{3}, no, \\boxed{4}\n(b) \\boxed{5}", "4, 5"),
    ],
)
def test_boxes_of_a_question_in_parts_are_one_answer(completion: str, answer: str) -> None:
    assert extract(completion).answer == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("$-\\boxed{5}$", "-5"),
        ("$x = -\\boxed{5}$", "-5"),
        ("$\\boxed{5}\\%$", "5\\%"),
        ("\\boxed{5}%", "5%"),
        ("$\\boxed{5}^\\circ$", "5^\\circ"),
        ("$\\boxed{5}\\times 10^{3}$", "5\\times 10^{3}"),
        ("$\\boxed{5}\\text{ million}$", "5\\text{ million}"),
        ("\\boxed{5} million", "5 million"),
        ("$-\\boxed{5+x}$", "-(5+x)"),
        ("$\\boxed{5}x$", "5x"),
        ("$\\boxed{5}$.", "5"),
        ("- \\boxed{5}", "5"),
        ("$\\boxed{5}$ cm", "5"),
        ("$7 - \\boxed{5}$", "5"),
        ("\\[\\boxed{5}\\]", "5"),
        ("\\boxed{5} is a million times better", "5"),
    ],
)
def test_sign_or_scale_beside_a_box_belongs_to_the_answer(completion: str, answer: str) -> None:
    assert extract(completion).answer == answer


@pytest.mark.parametrize(
    ("mode", "completion", "answer"),
    [
        ("hashes", "so\n#### 72 clips", "72 clips"),
        ("hashes", "so\n#### **72**", "72"),
        ("hashes", "so\n####\n72", "72"),
        ("answer", "<Answer>5</Answer>", "5"),
        ("answer", "<answer>Steps.\nAnswer: 5</answer>", "5"),
    ],
)
def test_marks_with_markdown_around_the_answer(mode: Any, completion: str, answer: str) -> None:
    assert extract(completion, mode).answer == answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("3 + 1 = 4. So the answer is 5.", "5"),
        ("3 + 1 = 4. Therefore, the answer is: $\\dfrac{1}{8}$", "$\\dfrac{1}{8}$"),
        ("Two days later. Therefore, the answer is: Friday", "Friday"),
        ("解得 $x=6$。所以答案是 $6$。", "$6$"),
        ("逐一判断。故选：D。", "D"),
        ("It vanishes at two points. Hence\n\n$$a \\in \\{1, 2\\}$$", "a \\in \\{1, 2\\}"),
        ("He needs $20/4$ boxes.\n\\[20 \\div 4 = 5\\]", "20 \\div 4 = 5"),
        ("By Newton's law $F=ma$. The force is **20 newtons**.", "20 newtons"),
        ("解不等式，得解集为 $(2,+\\infty)$。", "(2,+\\infty)"),
        ("First $a=2$. So the area is $5$.", "5"),
        ("**The sum is $5$.**", "5"),
        ("反之不成立，所以 $p$ 是 $q$ 的**充分条件**。", "充分条件"),
        ("So the answer is **5**! 😊", "5"),
        ("The number of subsets is $5$.\n\nI hope this helps! Let me know if you have questions.", "5"),
        ("The answer is 5.\n\nCheck: $2 + 4 = 6$", "5"),
        ("The answer is $4$. Correcting for this, the answer is $5$.", "$5$"),
        ("The answer is 4.\n\nNo, a pair was lost: the answer is 5.", "5"),
        ("So the solution is\n\n- $x=2$", "x=2"),
    ],
)
def test_the_last_sentence_states_the_answer(completion: str, answer: str) -> None:
    assert extract(completion, "end").answer == answer
    assert (extract(completion, "auto").answer or "").strip(".。") == answer


@pytest.mark.parametrize(
    "completion",
    [
        "It is $3$ or $4$.",
        "It is **3**. Or is it **4**?",
        "The area is not $5$.",
        "I doubt that the answer is 5; is the answer 5?",
        "It is $5$ if $n$ is odd.",
        "Either $$5$$ or\n$$6$$",
        "It cannot be\n$$5$$",
        "So the solutions are\n\n- $x=2$\n- $x=3$",
        "Then $x=5$ holds, and the rest is easy.",
        "$$5$$ is what remains, so we divide further.",
        "So we are left with 5 or so.",
        "It would be a mistake to say that the answer is 5.",
        "It is impossible to tell whether the answer is $5$.",
        "So the sum is $7$. Check: $$3 + 2 = 5$$",
        "The width is $7$. Note that the length is **5**.",
        "The period is $7$. Many students wrongly write $5$.",
        "",
        "\n\n",
    ],
)
def test_a_sentence_that_says_more_states_no_answer(completion: str) -> None:
    assert extract(completion, "end").answer is None


BOMBS = {
    "marks": "Answer: " + ".," * 500_000 + "x",
    "dots": "So the answer is " + "." * 1_000_000 + "x",
    "statements": "the answer is " * 70_000,
    "spaces": "answer" + " " * 1_000_000,
    "words": "answer " + "a" * 1_000_000,
    "displays": "$$" * 500_000,
    "openings": "\\[" * 500_000,
    "formulas": "So " + "$a$ " * 250_000,
    "bold": "**a" * 300_000,
    "items": "- \n" * 300_000,
    "closings": "Answer: " + "I hope this" * 90_000,
}


@pytest.mark.parametrize("mode", ["line", "end", "auto"])
@pytest.mark.parametrize("completion", BOMBS.values(), ids=BOMBS)
def test_extraction_from_a_million_characters_takes_less_than_a_second(completion: str, mode: Any) -> None:
    began_s = time.process_time()
    extract(completion, mode)
    assert time.process_time() - began_s < 1.0
