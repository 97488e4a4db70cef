"""Invisible characters are not content for any verifier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.shared.visible import readable, without_invisible
from guerdon_plugins.verifiers.code_format import CodeFormat
from guerdon_plugins.verifiers.format import Format
from guerdon_plugins.verifiers.length import Length
from guerdon_plugins.verifiers.readable import Readable
from guerdon_plugins.verifiers.reasoning_steps import ReasoningSteps
from guerdon_plugins.verifiers.tag_count import TagCount

INVISIBLE = ["\u200b", "\u00ad", "\ufeff", "\u2060", "\u3164", "\u115f", "\uffa0", "\u2800", "\U000e0041"]
INVISIBLE += ["\u034f", "\u17b5", "\ufe0f", "\U000e0100"]


@pytest.mark.parametrize("char", INVISIBLE)
def test_invisible_character_is_not_content(char: str) -> None:
    assert not readable(char * 3)
    assert without_invisible(f"a{char}b") == "ab"
    assert Format()(f"<think>{char}</think><answer>{char}</answer>").value == 0.0
    assert TagCount()(f"<think>{char}</think><answer>{char}</answer>").value == 0.0
    assert Length(min_words=10)(f"{char} " * 20).value == 0.0
    assert Length(min_words=10)(f"a{char}" * 20).value == 0.1
    assert Readable()(char).value == 0.0
    assert ReasoningSteps()(f"<think>1. {char}\n2. {char * 2}\n3. {char * 3}</think>4").value == 0.0
    assert not CodeFormat()(f"<think>so</think>\n```python\n{char}\n```")


@given(st.text(alphabet="aé北 \n.!1", max_size=30))
def test_without_invisible_of_visible_text_is_the_text(text: str) -> None:
    assert without_invisible(text) == text
