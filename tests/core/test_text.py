"""What verifiers read in completions, hostile ones included."""

from __future__ import annotations

import re
import time
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.text import (
    _HARMONY_MARKS,
    GPT_OSS,
    REASONING_TAGS,
    CodeBlock,
    Part,
    _tag_patterns,
    code_blocks,
    last_code_block,
    last_tagged,
    select_part,
    split_reasoning,
    tag_marks,
    without_code,
    without_formulas,
    words,
)

MARKUP = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "```",
    "```python",
    "~~~",
    "`",
    "$",
    "$$",
    "\\(",
    "\\)",
]
OTHER = [
    "\\[",
    "\\begin{a}",
    "\\end{a}",
    "\\frac",
    "\n",
    " ",
    "a",
    "don't",
    "你好",
    "42",
    "\ud800",
    "\x00",
    "\u2028",
    "नमस्ते",
]
SNIPPETS = st.lists(st.sampled_from([*MARKUP, *OTHER]), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("completion", "reasoning", "answer"),
    [
        ("<think>a b</think> 42", "a b", "42"),
        ("a b</think>42", "a b", "42"),
        ("42", "", "42"),
        ("<think>never ends", "never ends", ""),
        ("<think>a</think>41<think>b</think>42", "a41b", "42"),
        ("<think>a</think>41<think>b", "a41b", ""),
        ("", "", ""),
    ],
    ids=["whole", "prefilled", "no tags", "cut off", "two blocks", "reopened", "empty"],
)
def test_split_reasoning(completion: str, reasoning: str, answer: str) -> None:
    assert split_reasoning(completion) == (reasoning, answer)


@pytest.mark.parametrize(
    "completion",
    [
        "[THINK]a[/THINK]b",
        "<thinking>a</thinking>b",
        "<thought>a</thought>b",
        "<reasoning>a</reasoning>b",
        "<Think>a</Think>b",
        "< think >a</ THINK >b",
        "<seed:think>a</seed:think>b",
        "◁think▷a◁/think▷b",
        "<|begin_of_thought|>a<|end_of_thought|>b",
        "<|START_THINKING|>a<|END_THINKING|>b",
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
        "<|channel|>analysis<|message|>a<|end|>"
        "<|start|>assistant<|channel|>final <|constrain|>json<|message|>b<|return|>",
        "analysisAassistantfinalb",
        "a</thinking>b",
    ],
)
def test_split_reasoning_in_the_tags_of_a_model_family_returns_both_parts(completion: str) -> None:
    reasoning, answer = split_reasoning(completion)
    assert (reasoning.lower(), answer) == ("a", "b")


@pytest.mark.parametrize(
    "completion", ["[THINK]a", "<reasoning>a", "<|channel|>analysis<|message|>a", "analysisWe need"]
)
def test_split_reasoning_that_never_ends_leaves_no_answer(completion: str) -> None:
    assert split_reasoning(completion).answer == ""


@pytest.mark.parametrize("completion", ["b<|end|>", "Analysis: b", "if a < think and b", "[think]b"])
def test_split_reasoning_without_a_tag_returns_the_answer(completion: str) -> None:
    assert split_reasoning(completion, ["think", GPT_OSS]) == ("", completion)


def test_split_reasoning_with_chosen_tags_reads_no_others() -> None:
    assert split_reasoning("<reason>a</reason>b", ["reason"]) == ("a", "b")
    assert split_reasoning("<<a>>b", ["<< >>"]) == ("a", "b")
    assert split_reasoning("<think>a</think>b", ["reason"]) == ("", "<think>a</think>b")


@pytest.mark.parametrize("tag", ["", "a b c", "a b=c d", "<think>", "| |"])
def test_split_reasoning_with_something_else_as_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="is not a tag"):
        split_reasoning("x", [tag])


@pytest.mark.parametrize(
    ("completion", "part", "selected"),
    [
        ("<think>a</think> so <answer>42</answer>", "reasoning", "a"),
        ("<think>a</think> so <answer>42</answer>", "answer", "42"),
        ("<think>a</think> so 42", "answer", "so 42"),
        ("<think>a</think> so 42", "whole", "<think>a</think> so 42"),
        ("no tags", "reasoning", "no tags"),
    ],
)
def test_select_part(completion: str, part: Part, selected: str) -> None:
    assert select_part(completion, part) == selected


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("<answer> 1 </answer> and <answer>\n2\n</answer>", "2"),
        ("<answer>1</answer><answer>2", "1"),
        ("<answer>1<answer>2</answer>", "2"),
        ("</answer><answer>", None),
        ("none", None),
    ],
)
def test_last_tagged(text: str, held: str | None) -> None:
    assert last_tagged(text, "answer") == held


def test_code_blocks_with_languages_fences_and_indentation() -> None:
    text = (
        "Try\n```Python title=a\nx = 1\n```\nor\n~~~\ny = '```'\n~~~\n"
        "1. item:\n   ````py\n   if z:\n       ```\n   ````\n```cpp\nint a;"
    )
    assert code_blocks(text) == [
        ("python", "x = 1\n", True),
        ("", "y = '```'\n", True),
        ("py", "if z:\n    ```\n", True),
        ("cpp", "int a;", False),
    ]


def test_three_backticks_around_words_are_inline_code() -> None:
    assert code_blocks("```x = 1```\nprose") == []
    assert without_code("a ```x = 1```\nprose `y` z") == "a  \nprose   z"


def test_last_code_block_of_a_language() -> None:
    text = "```python\n1\n```\n```py\n2\n```\n```bash\n3\n```"
    last = last_code_block(text, "python", "py")
    assert last is not None
    assert last.code == "2\n"
    assert last_code_block(text) == ("bash", "3\n", True)
    assert last_code_block(text, "cpp") is None


def test_without_code_leaves_prose() -> None:
    assert without_code("see [asy]\ndraw((0,0)--(1,1));\n[/asy] here").split() == ["see", "here"]
    assert without_code("We `sort()` it:\n```python\nfor x in y: pass\n```\nDone").split() == [
        "We",
        "it:",
        "Done",
    ]


@pytest.mark.parametrize(
    "formula",
    [
        "$x^2 + y$",
        "$$\\frac{a}{b}$$",
        "\\(a + b\\)",
        "\\[ \\sum_{i=1}^n i \\]",
        "\\begin{align}a &= b\\\\ c &= d\\end{align}",
        "\\alpha",
    ],
)
def test_without_formulas(formula: str) -> None:
    assert without_formulas(f"before {formula} after").split() == ["before", "after"]


@pytest.mark.parametrize(
    "text", ["It costs $5 and I paid $10.", "A US$5 note", "back\\\\slash?", "5 $ a b $ 6"]
)
def test_money_is_not_a_formula(text: str) -> None:
    assert words(without_formulas(text)) == words(text.replace("\\slash", ""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, it's 3.14!", ["Don't", "stop", "it's", "3.14"]),
        ("我们先算出x的值", ["我", "们", "先", "算", "出", "x", "的", "值"]),
        ("コンピュータ", list("コンピュータ")),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("snake_case", ["snake", "case"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_words_with_symbols() -> None:
    assert words("1 + 1!!", symbols=True) == ["1", "+", "1", "!", "!"]


@given(st.text(st.characters(max_codepoint=127)), st.booleans())
def test_words_of_an_ascii_text_are_those_of_the_general_pattern(text: str, symbols: bool) -> None:
    assert [*words(text, symbols=symbols), "é"] == words(f"{text}\né", symbols=symbols)


@given(SNIPPETS | st.text())
def test_any_text_is_read_and_nothing_is_invented(text: str) -> None:
    parts = split_reasoning(text)
    assert len(parts.reasoning) + len(parts.answer) <= len(text)
    assert parts.answer in text
    assert (last_tagged(text, "answer") or "") in text
    assert all(word in text for word in words(text, symbols=True))
    assert all(line in text for block in code_blocks(text) for line in block.code.splitlines())
    without_formulas(without_code(text))


@pytest.mark.parametrize(
    "piece",
    [
        "`",
        "`a",
        "[asy]",
        "```\n",
        "$",
        "$a",
        "$$a",
        "\\(",
        "\\[",
        "\\begin{a}",
        "\\begin{",
        "<think>",
        "</think>",
        "a'",
        "你",
        "𝒙́",
    ],
)
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    text = piece * 100_000
    started = time.process_time()
    without_formulas(without_code(text))
    words(text, symbols=True)
    split_reasoning(text)
    code_blocks(text)
    assert time.process_time() - started < 3


TAGS = [
    *(mark for tag in REASONING_TAGS for mark in tag_marks(tag)),
    *("< Think >", "</ th\u0130nk >", "analysis", "analysisA", "assistantfinal", "<|channel|>final"),
    *("<|constrain|>json", "<|message|>", "<", ">", "think", " ", "a", "\n"),
]
LINES = ["```", "````", "~~~", "`", "~", "py", " ", "\t", "\u3000", "\x1f", "a"]
ENDS = ["\n", "\r\n", "\r", "\v", "\x1c", "\x85", "\u2028"]


def split_at_once(completion: str) -> tuple[str, str]:
    """Split by one search of each pattern in the whole text."""
    opening, closing, either = _tag_patterns(REASONING_TAGS, bare=True)
    end = max((mark.end() for mark in closing.finditer(completion)), default=0)
    if opening.search(completion, end):
        end = len(completion)
    reasoning, answer = either.sub("", completion[:end]), completion[end:]
    if "<|channel|>" in completion:
        reasoning, answer = (_HARMONY_MARKS.sub("", part) for part in (reasoning, answer))
    return reasoning.strip(), answer.strip()


def blocks_by_line(text: str) -> list[CodeBlock]:
    """Read fenced blocks line by line."""
    blocks: list[CodeBlock] = []
    fence: re.Match[str] | None = None
    code = ""

    def end(closed: bool) -> None:
        assert fence is not None
        blocks.append(CodeBlock(next(iter(fence[3].split()), "").lower(), code, closed))

    for line in text.splitlines(keepends=True):
        mark = line.strip()
        if fence is None:
            fence, code = re.match(r"([ \t]*+)(`{3,}+(?=[^`]*$)|~{3,}+)(.*)", line), ""
        elif len(mark) >= len(fence[2]) and mark == fence[2][0] * len(mark):
            end(closed=True)
            fence = None
        else:
            code += line[min(len(fence[1]), len(line) - len(line.lstrip(" \t"))) :]
    if fence is not None:
        end(closed=False)
    return blocks


@pytest.mark.parametrize("window", [3, 1 << 13])
@given(st.lists(st.sampled_from(TAGS), max_size=12).map("".join))
def test_split_reasoning_by_windows_equals_the_split_at_once(window: int, completion: str) -> None:
    with patch("guerdon.text._WINDOW", window):
        assert split_reasoning(completion) == split_at_once(completion)


@pytest.mark.parametrize("window", [3, 1 << 13])
@given(st.lists(st.sampled_from([*LINES, *ENDS]), max_size=30).map("".join))
def test_code_blocks_equal_those_that_are_read_line_by_line(window: int, text: str) -> None:
    with patch("guerdon.text._WINDOW", window):
        assert code_blocks(text) == blocks_by_line(text)


def test_code_blocks_with_a_line_longer_than_a_window_reads_all_of_it() -> None:
    fence = "`" * 100_000
    assert code_blocks(f"{fence}py {'a' * 100_000}\nx\n{fence}\ny") == [("py", "x\n", True)]
