"""Whether a completion presents a program as it was asked to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.verifiers.code_format import CodeFormat

BLOCK = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("completion", "params", "fits"),
    [
        (f"<think>so</think>\n{BLOCK}", {}, True),
        (f"<think>so</think>\nHere it is:\n{BLOCK}\nDone.", {}, True),
        (BLOCK, {}, False),
        (BLOCK, {"reasoning": False}, True),
        (f"<think>{BLOCK}</think>\nno code", {}, False),
        (f"<think>so {BLOCK}", {}, False),
        ("<think>so</think>\n```python\nprint(1)\n", {}, False),
        ("<think>so</think>\n```python\n\n```", {}, False),
        ("<think>so</think>\n```\nprint(1)\n```", {}, False),
        ("<think>so</think>\n```cpp\nint x;\n```", {"language": "cpp"}, True),
        (f"<think>so</think>\n<answer>\n{BLOCK}\n</answer>", {"answer_tag": "answer"}, True),
        (f"<think>so</think>\n{BLOCK}", {"answer_tag": "answer"}, False),
    ],
)
def test_formats(completion: str, params: dict[str, object], fits: bool) -> None:
    assert CodeFormat(**params)(completion) is fits  # type: ignore[arg-type]


@given(st.text(st.sampled_from("<>/think`python \n~")))
def test_any_text_has_a_verdict(completion: str) -> None:
    assert isinstance(CodeFormat()(completion), bool)


def test_a_language_is_needed() -> None:
    with pytest.raises(ValueError, match="language"):
        CodeFormat(language=" ")
