"""Extract the text of conversations: of all turns, or of the model's turns only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, TypeAlias

Messages: TypeAlias = Sequence[Mapping[str, Any]]
"""A conversation, as TRL and transformers spell it: ``[{"role": "user", "content": "..."}]``."""

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""The keys under which servers and chat templates keep a turn's reasoning, separate from its content."""


def message_text(content: str | Messages) -> str:
    """Return the text of a string, or of all turns of a conversation, joined by newlines.

    Content made of typed blocks (``[{"type": "text", "text": "..."}]``) counts with its text blocks. A completion may
    hold turns of tools and users, which the model did not write: read completions with ``completion_text``.
    """
    if isinstance(content, str):
        return content
    return "\n".join(_text(message.get("content")) for message in content)


def completion_text(completion: str | Messages) -> str:
    """Return the text that the model wrote, which is what verifiers judge.

    A completion that is a text is returned whole. Of a conversation, only turns with the role ``assistant`` count,
    joined
    by newlines. A turn's reasoning comes first, in ``<think>`` tags. Turns without text add nothing.
    """
    if isinstance(completion, str):
        return completion
    turns = (_turn(message) for message in completion if message.get("role") == "assistant")
    return "\n".join(turn for turn in turns if turn)


def tool_calls(messages: Messages) -> list[dict[str, Any]]:
    """Return the calls of tools in a conversation, with the keys ``name``, ``arguments``, ``result`` and ``turn``.

    The results of a turn are the ``tool`` messages after it: those with the call's ``tool_call_id``, otherwise those in
    the order of the calls.
    """
    found: list[dict[str, Any]] = []
    turn = -1
    for place, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        turn += 1
        calls = [call for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
        results = _results(messages, place + 1)
        by_id = _by_id(results)
        for number, call in enumerate(calls):
            function = call.get("function", call)
            named = function if isinstance(function, Mapping) else {}
            result = _result_of(call, number, results, by_id)
            found.append(
                {
                    "name": str(named.get("name", "")),
                    "arguments": _arguments(named.get("arguments")),
                    "result": None if result is None else _text(result.get("content")),
                    "turn": turn,
                }
            )
    return found


def _results(messages: Messages, start: int) -> list[Mapping[str, Any]]:
    """Return the tools' messages from a place on, before the next turn of another role."""
    following = (messages[place] for place in range(start, len(messages)))
    return list(takewhile(lambda message: message.get("role") == "tool", following))


def _by_id(results: Sequence[Mapping[str, Any]]) -> dict[str | int, Mapping[str, Any]]:
    """Return the results by the ids of their calls; the first one of an id counts."""
    found: dict[str | int, Mapping[str, Any]] = {}
    for result in results:
        called = result.get("tool_call_id")
        if isinstance(called, str | int):
            found.setdefault(called, result)
    return found


def _result_of(
    call: Mapping[str, Any],
    number: int,
    results: Sequence[Mapping[str, Any]],
    by_id: Mapping[str | int, Mapping[str, Any]],
) -> Mapping[str, Any] | None:
    wanted = call.get("id")
    if by_id and isinstance(wanted, str | int):
        return by_id.get(wanted)
    return results[number] if number < len(results) else None


def _arguments(arguments: Any) -> Any:
    """Return arguments as values. OpenAI's protocol sends them as JSON text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _turn(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    answer = _text(content)
    reasoning = next(filter(None, (_text(message.get(key)) for key in REASONING_KEYS)), "") or _thinking(
        content
    )
    if not reasoning.strip():
        return answer
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{answer.strip()}"


def _text(content: Any) -> str:
    """Return the text of a turn's content: text, typed blocks, or nothing."""
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else str(block.get("text") or "")
        for block in _blocks(content)
        if isinstance(block, str) or block.get("type", "text") in ("text", "output_text")
    )


def _thinking(content: Any) -> str:
    """Return the text of the blocks that hold reasoning, as some vendors' messages have them."""
    blocks = [block for block in _blocks(content) if not isinstance(block, str)]
    parts = (
        block.get(key) for block in blocks for key in ("thinking", "reasoning") if block.get("type") == key
    )
    return "\n".join(filter(None, map(_text, parts)))


def _blocks(content: Any) -> Iterable[str | Mapping[str, Any]]:
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, Iterable) or isinstance(content, str | bytes):
        return []
    return [block for block in content if isinstance(block, str | Mapping)]
