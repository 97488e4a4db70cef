"""How a tokenizer's chat template writes calls of tools and their results, by TRL's and transformers' parsers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl import chat_template_utils
from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    parse_response,
    supports_tool_calling,
)

from guerdon.errors import UsageError
from guerdon.tools import Session

_CALL = [{"type": "function", "function": {"name": "dummy", "arguments": {}}}]
_BEFORE: list[dict[str, Any]] = [
    {"role": "user", "content": "dummy"},
    {"role": "assistant", "content": "", "tool_calls": _CALL},
]
"""A turn that called a tool; what the template adds after it does not depend on its content."""


class ToolDialect:
    """Reads calls and writes results.

    Args:
        tokenizer: The model's tokenizer, with a response template.
        tools_of: Returns the functions that show a session's tools.
        chat_template: The template of the rollouts; by default the tokenizer's.
        template_options: Other arguments of the template.
    """

    def __init__(
        self,
        tokenizer: Any,
        tools_of: Callable[[Session], Sequence[Callable[..., Any]]],
        chat_template: str | None = None,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._tools_of = tools_of
        self._chat_template = chat_template
        self._options = dict(template_options or {})
        self._calls = _pattern_of_calls(tokenizer)

    def prompt_ids(self, prompt: Any, session: Session) -> list[int]:
        """Return the tokens of a prompt with its session's tools, up to the start of the model's turn."""
        return self._rendered(list(prompt), tools=list(self._tools_of(session)) or None, start=True)

    def parse(self, ids: Sequence[int], prefix: Sequence[int], session: Session) -> dict[str, Any]:
        """Return the message in the tokens of one turn.

        transformers keeps only the words after the last call. Here the content is all words outside the calls, because
        they are the model's own.
        """
        message = self._parsed(ids, prefix, session)
        if not message.get("tool_calls") or self._calls is None:
            return message
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        words = self._calls.sub("", text)
        rest = self._parsed(self._tokenizer(words, add_special_tokens=False)["input_ids"], prefix, session)
        return {**rest, "tool_calls": message["tool_calls"]}

    def results(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the tokens that a turn with calls is followed by: the results, and the start of the next turn.

        Raises:
            UsageError: The template changes earlier turns.
        """
        before = self._rendered(_BEFORE)
        end = self._tokenizer.eos_token_id
        if end in before:  # templates may write more after the token that ends a turn, which is not sampled
            before = before[: len(before) - before[::-1].index(end)]
        whole = self._rendered([*_BEFORE, *map(dict, messages)], start=True)
        if whole[: len(before)] != before:
            raise UsageError(
                "the chat template writes a turn differently after tools have answered, so its tokens cannot be kept. "
                "Set 'chat_template' to one that does not."
            )
        return whole[len(before) :]

    def _rendered(self, messages: list[Any], *, tools: Any = None, start: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages,
            tools=tools,
            chat_template=self._chat_template,
            add_generation_prompt=start,
            tokenize=True,
            return_dict=False,
            **self._options,
        )
        return ids

    def _parsed(self, ids: Sequence[int], prefix: Sequence[int], session: Session) -> dict[str, Any]:
        if not ids:  # the parser takes no tokens for no turns
            return {"role": "assistant", "content": ""}
        tools: Any = list(self._tools_of(session))
        message: dict[str, Any] = parse_response(self._tokenizer, list(ids), prefix=list(prefix), tools=tools)
        return message


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> str | None:
    """Make a tokenizer read calls of tools, as TRL's trainer does. Return the template of the rollouts.

    Args:
        tokenizer: The tokenizer.
        name: The model's name, for the error.

    Raises:
        UsageError: Its chat template has no tools, or none that TRL can read.
    """
    known: Any = tokenizer
    known.chat_template = _as_in_trl(known.chat_template)
    if not supports_tool_calling(known):
        raise UsageError(
            f"the chat template of model '{name}' does not write calls of tools. Set 'chat_template' to one that does, "
            "such as Qwen3's."
        )
    has_parser = any(
        getattr(known, parser, None) is not None for parser in ("response_template", "response_schema")
    )
    if not has_parser:
        try:
            add_response_schema(known)
        except ValueError as error:
            raise UsageError(
                f"the calls of tools of model '{name}' cannot be read: {error}. "
                "Give its tokenizer a 'response_template'."
            ) from None
    if is_chat_template_prefix_preserving(known):
        return None
    template: str | None = get_training_chat_template(known)
    return template


def _as_in_trl(template: str | None) -> str | None:
    """Return TRL's own text of a template that differs only in the white space around it: TRL compares the whole."""
    if template is None:
        return None
    known = [text for name, text in vars(chat_template_utils).items() if name.endswith("_chat_template")]
    return next((text for text in known if str(text).strip() == template.strip()), template)


def _pattern_of_calls(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what matches a call in the text of a turn, by the tokenizer's response template."""
    template = getattr(tokenizer, "response_template", None)
    field = (template or {}).get("fields", {}).get("tool_calls")
    if not isinstance(field, Mapping):
        return None
    ends = [
        field.get(f"{end}_pattern") or (re.escape(field[end]) if field.get(end) else None)
        for end in ("open", "close")
    ]
    if None in ends:
        return None
    return re.compile(f"(?:{ends[0]}).*?(?:{ends[1]})", re.DOTALL)
