"""Calls are read as transformers reads them, and no word of the model is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_entries import entry_of
from transformers.utils.chat_template_utils import TypeHintParsingException, get_json_schema
from trl.chat_template_utils import qwen3_chat_template

from guerdon.errors import UsageError
from guerdon.plugins.tool_shape import tool_stub, undescribed
from guerdon.tools import Session, Toolbox
from guerdon.training.tool_dialect import ToolDialect, prepare_tokenizer
from guerdon_plugins.stages.pretrain.tokenizer import train_tokenizer

CALL = '<tool_call>{"name": "double", "arguments": {"number": 4}}</tool_call>'
TOKENIZER: Any = train_tokenizer([CALL, "a few words to learn from"], 400, tools=True)


@pytest.fixture(scope="module")
def opened() -> Any:
    with Toolbox([entry_of("double")]) as toolbox:
        (session,) = toolbox.open([{}], [0])
        yield ToolDialect(TOKENIZER, toolbox.stubs_of), session


def read(opened: tuple[ToolDialect, Session], text: str) -> dict[str, Any]:
    dialect, session = opened
    prefix = dialect.prompt_ids([{"role": "user", "content": "hi"}], session)
    return dialect.parse(TOKENIZER(text)["input_ids"], prefix, session)


@pytest.mark.parametrize(
    ("text", "content", "count"),
    [
        (f"{CALL}<|end|>", "", 1),
        (CALL, "", 1),  # the length limit ends the turn right after the call
        (f"before {CALL}<|end|>", "before ", 1),
        (f"before {CALL} after<|end|>", "before  after", 1),
        (f"a{CALL}b{CALL}c<|end|>", "abc", 2),
        ("no call<|end|>", "no call", 0),
        ('<tool_call>{"name": <|end|>', '<tool_call>{"name": ', 0),
        (CALL[:20], CALL[:20], 0),
        ("a<|assistant|>b<|end|>", "a<|assistant|>b", 0),
        ("a<|tool|>8<|assistant|>b<|end|>", "a<|tool|>8<|assistant|>b", 0),
    ],
)
def test_content_is_all_words_outside_calls(
    opened: tuple[ToolDialect, Session], text: str, content: str, count: int
) -> None:
    message = read(opened, text)
    assert message["content"].split() == content.split()
    assert len(message.get("tool_calls") or ()) == count


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.sampled_from(["alpha", "beta", CALL, "gamma", "<|assistant|>", "{", "</tool_call>"]), max_size=6
    )
)
def test_no_word_is_lost(opened_once: tuple[ToolDialect, Session], parts: list[str]) -> None:
    content = read(opened_once, " ".join(parts) + "<|end|>")["content"]
    for word in ("alpha", "beta", "gamma"):
        assert content.count(word) == parts.count(word)


@pytest.fixture(scope="module")
def opened_once(opened: Any) -> Any:
    return opened


def test_results_are_followed_by_the_start_of_the_next_turn(opened: tuple[ToolDialect, Session]) -> None:
    ids = opened[0].results([{"role": "tool", "name": "double", "content": "8"}])
    assert TOKENIZER.decode(ids) == "<|tool|>8<|assistant|>"


def test_tokenizer_without_tools_is_refused() -> None:
    with pytest.raises(UsageError, match="does not write calls of tools"):
        prepare_tokenizer(train_tokenizer(["words"], 400), "tiny")


def test_template_without_its_last_newline_is_known() -> None:
    tokenizer = train_tokenizer(["words"], 400)
    tokenizer.chat_template = qwen3_chat_template.strip()
    prepare_tokenizer(tokenizer, "tiny")
    assert tokenizer.chat_template == qwen3_chat_template
    assert tokenizer.response_template is not None


class Custom:
    """A class of a plugin's own."""


HINTS: list[Any] = [
    *(
        str,
        int,
        None,
        Any,
        Custom,
        list,
        list[str],
        list[list[int]],
        dict,
        dict[str, int],
        tuple,
        tuple[int, str],
    ),
    *(tuple[int, ...], tuple[int], Sequence[str], str | None, Optional[str], Literal["a", 1], Literal[b"x"]),  # noqa: UP045
    *(
        set[str],
        Callable[[int], int],
        dict[str, Sequence[int]],
        int | list[set[str]],
        type[int],
        Iterator[str],
    ),
]


@pytest.mark.parametrize("place", ["x", "return"])
@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_tools_hint_is_refused_if_transformers_makes_no_schema_of_it(hint: Any, place: str) -> None:
    def tool(x: Any) -> Any:
        """Do it.

        Args:
            x: What.
        """

    tool.__annotations__ = {"x": str, place: hint}
    readable = True
    try:
        get_json_schema(tool)
    except TypeHintParsingException:
        readable = False
    assert (list(undescribed(tool_stub("tool", tool))) == []) == readable


def test_tools_hint_that_only_a_type_checker_knows_is_refused() -> None:
    def tool(x: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
        """Do it.

        Args:
            x: What.
        """
        return ""

    (problem,) = undescribed(tool_stub("tool", tool))
    assert "cannot be evaluated: name 'Nowhere' is not defined" in problem
