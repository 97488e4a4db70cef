"""Convert values to JSON, because scores and records cross processes that do not know a plugin's types."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from guerdon.errors import one_line

MAX_BRIEF = 300
"""The most characters of a value that a message shows."""


def to_json(value: Any) -> Any:
    """Return the value as JSON values.

    NaN, infinities and values without a JSON form become text. Numbers and arrays of numpy and torch become numbers and
    lists.

    Raises:
        ValueError, TypeError: The value contains itself, or a mapping in it has keys that are not texts or numbers.
    """
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: str(float(name)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)  # a number or an array of numpy or torch
    return tolist() if callable(tolist) else brief(value, str)


def to_number(value: Any) -> numbers.Real | Decimal | None:
    """Return a value as a Python number, or ``None`` if it is not a real number or a bool.

    Numbers of numpy and torch are converted.
    """
    if not isinstance(value, numbers.Real | Decimal) and callable(item := getattr(value, "item", None)):
        try:
            value = item()
        except Exception:  # an array of several numbers, or another class's conversion failed
            return None
    return value if isinstance(value, numbers.Real | Decimal) else None


def brief(value: Any, render: Any = repr) -> str:
    """Return a short rendering of any value. It never raises, and its length is bounded."""
    try:
        text = one_line(render(value))
    except Exception as error:
        return f"<{type(value).__name__} whose text cannot be made: {type(error).__name__}>"
    return text if len(text) <= MAX_BRIEF else f"{text[:MAX_BRIEF]}…"


def parse_object(line: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object on a line of a log, or ``None`` if the line is incomplete after a kill or a full disk."""
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
