"""Values as JSON: what scores and records hold crosses processes that do not know a plugin's types."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from guerdon.errors import one_line

MAX_BRIEF = 300
"""Characters of a value that a message shows."""


def to_json(value: Any) -> Any:
    """Return the value as JSON values. What JSON has no form for becomes text, NaN and infinities among it.

    Numbers and arrays of numpy and torch become numbers and lists.

    Raises:
        ValueError, TypeError: The value contains itself, or a mapping in it has keys that are not texts or numbers.
    """
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: str(float(name)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)  # a number or an array of numpy's or torch's
    return tolist() if callable(tolist) else brief(value, str)


def to_number(value: Any) -> numbers.Real | Decimal | None:
    """Return a real number or a bool as Python has it, also one of numpy or torch; ``None`` for anything else."""
    if not isinstance(value, numbers.Real | Decimal) and callable(item := getattr(value, "item", None)):
        try:
            value = item()
        except Exception:  # several numbers; a class that does something else
            return None
    return value if isinstance(value, numbers.Real | Decimal) else None


def brief(value: Any, render: Any = repr) -> str:
    """Return a short rendering that neither raises nor grows with the value."""
    try:
        text = one_line(render(value))
    except Exception as error:
        return f"<{type(value).__name__} whose text cannot be made: {type(error).__name__}>"
    return text if len(text) <= MAX_BRIEF else f"{text[:MAX_BRIEF]}…"
