"""Show a number with its interval in one cell of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["is_interval", "with_intervals"]

_ENDS = ("_low", "_high")
"""What the names of the columns end with that hold the ends of a number's interval."""

_P = "_p"
"""What the name of the column ends with that holds a difference's p-value."""


_INTERVAL = re.compile(r"-?[\d.]+ \[-?[\d.]+, -?[\d.]+\]( p[<=][\d.]+)?")
"""A cell with a number, its interval and its p-value."""


def with_intervals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in which a number, its interval and its p-value are one text: ``0.843 [0.812, 0.870]``.

    Args:
        rows: The rows of a table. With a column ``x``, ``x_low`` and ``x_high`` are the ends of its interval, and
            ``x_p`` is its p-value.
    """
    return [_merged(row) for row in rows]


def is_interval(value: Any) -> bool:
    """Return whether a cell is a number with its interval, as :func:`with_intervals` writes it."""
    return isinstance(value, str) and _INTERVAL.fullmatch(value) is not None


def _merged(row: Mapping[str, Any]) -> dict[str, Any]:
    with_one = {name for name in row if all(_is_number(row.get(f"{name}{end}")) for end in ("", *_ENDS))}
    taken = {f"{name}{end}" for name in with_one for end in (*_ENDS, _P)}
    return {
        name: _text(row, name) if name in with_one else value
        for name, value in row.items()
        if name not in taken
    }


def _text(row: Mapping[str, Any], name: str) -> str:
    value, low, high = numbers = [row[f"{name}{end}"] for end in ("", *_ENDS)]
    digits = 3 if max(map(abs, numbers)) < 100 else 1
    text = f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    p = row.get(f"{name}{_P}")
    if p is None:
        return text
    return f"{text} p<0.001" if p < 0.001 else f"{text} p={p:.3f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
