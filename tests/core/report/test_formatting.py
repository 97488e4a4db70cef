"""The formats of pages: numbers, texts that nobody checked, and conversations."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.report.formatting import cut, is_hidden, milliseconds, number, turns
from guerdon.report.templating import visible


@given(st.text(st.characters() | st.sampled_from("\u202e\u2066\x00\x1b\ud800\u200b<&\"'")))
def test_visible_text_is_escaped_and_hides_nothing(text: str) -> None:
    html = str(visible(text))
    assert not any(is_hidden(letter) for letter in html)
    plain = re.sub(
        r'<span class="hidden">U\+([0-9A-F]{4,6})</span>', lambda code: chr(int(code[1], 16)), html
    )
    assert "<" not in plain
    assert unescape(plain) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (None, "–"),
            (True, "True"),
            (1234, "1,234"),
            (0.5, "0.500"),
            (1e-5, "1.00e-05"),
            (1234.5, "1,234.5"),
        ),
        ("a", "a"),
    ],
)
def test_numbers_are_formatted(value: Any, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.5, "0.50 ms"), (12.4, "12 ms"), (1500.0, "1.5 s")]
)
def test_latencies_are_formatted(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


def test_cut_says_how_much_is_left() -> None:
    assert cut("abc", 2) == ("ab", 1)
    assert cut("ab", 2) == ("ab", 0)


def test_turns_have_reasoning_and_calls() -> None:
    call = {"type": "function", "function": {"name": "search", "arguments": {"for": "fish"}}}
    (turn,) = turns([{"role": "assistant", "content": "x", "reasoning": "why", "tool_calls": [call]}])
    assert (turn["role"], turn["text"], turn["reasoning"]) == ("assistant", "x", "why")
    assert turn["calls"] == [{"name": "search", "arguments": '{\n  "for": "fish"\n}'}]


@pytest.mark.parametrize(
    "conversation",
    [5, None, {"a": 1}, [1, None, "x"], [{}], [{"role": 3, "content": 5, "tool_calls": [1, {"a": 2}]}]],
)
def test_turns_of_anything_do_not_raise(conversation: Any) -> None:
    for turn in turns(conversation):
        assert isinstance(turn["text"], str)
