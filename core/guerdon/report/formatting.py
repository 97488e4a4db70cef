"""Format values for pages: numbers, durations, and texts that people did not write."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from guerdon.data.messages import REASONING_KEYS, message_text

SHOWN = 4000
"""The most characters of a text that a page shows."""


def number(value: Any) -> str:
    """Return a value of a table's cell; an en dash if there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value and abs(value) < 0.001:
        return f"{value:.2e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """Return seconds as people say them; an en dash for none."""
    if not seconds:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


def milliseconds(value: Any) -> str:
    """Return a latency."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return number(value)
    return (
        f"{value / 1000:,.1f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms"
    )


def size(number: int | None) -> str:
    """Return a number of bytes."""
    if number is None:
        return "–"
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def indented_json(value: Any) -> str:
    """Return JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def words(name: str) -> str:
    """Return a name without underscores."""
    return name.replace("_", " ")


def is_hidden(letter: str) -> bool:
    """Return whether a character is invisible, or changes the order of others: it could hide a text."""
    if letter.isascii():
        return (letter < " " and letter not in "\n\t") or letter == "\x7f"
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def reference(record: Mapping[str, Any]) -> Any:
    """Return the reference of a rollout's data row, or ``None``. A row scored outside of a run has no ``columns``."""
    columns = record.get("columns", record)
    return columns.get("reference") if isinstance(columns, dict) else None


def cut(text: str, most: int = SHOWN) -> tuple[str, int]:
    """Return the beginning of a text, and the number of characters that are left out."""
    return text[:most], max(0, len(text) - most)


def made_calls(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of tools in a rollout's record: turn, name, failure and time of each."""
    calls = record.get("tool_calls")
    return [
        {
            "turn": call.get("turn"),
            "name": str(call.get("name", "")),
            "failure": str(call.get("failure") or ""),
            "latency_ms": call.get("latency_ms"),
        }
        for call in (calls if isinstance(calls, list) else [])
        if isinstance(call, Mapping)
    ]


def turns(conversation: Any) -> list[dict[str, Any]]:
    """Return a prompt or a completion as turns with a role, a text, reasoning and calls of tools.

    Args:
        conversation: A text, or messages as TRL and transformers spell them.
    """
    if isinstance(conversation, str):
        return [{"role": "", "text": conversation, "reasoning": "", "calls": [], "name": ""}]
    if not isinstance(conversation, Iterable) or isinstance(conversation, Mapping):
        return [{"role": "", "text": indented_json(conversation), "reasoning": "", "calls": [], "name": ""}]
    return [_turn(message) for message in conversation]


def _turn(message: Any) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        return {"role": "", "text": indented_json(message), "reasoning": "", "calls": [], "name": ""}
    reasoning = next((message[key] for key in REASONING_KEYS if isinstance(message.get(key), str)), "")
    calls = message.get("tool_calls")
    return {
        "role": str(message.get("role", "")),
        "name": str(message.get("name") or message.get("tool_call_id") or ""),
        "text": message_text([message]),
        "reasoning": reasoning,
        "calls": [_call(call) for call in calls] if isinstance(calls, list) else [],
    }


def _call(call: Any) -> dict[str, str]:
    function = call.get("function", call) if isinstance(call, Mapping) else {}
    if not isinstance(function, Mapping) or "name" not in function:
        return {"name": "", "arguments": indented_json(call)}
    arguments = function.get("arguments", "")
    return {
        "name": str(function["name"]),
        "arguments": arguments if isinstance(arguments, str) else indented_json(arguments),
    }
