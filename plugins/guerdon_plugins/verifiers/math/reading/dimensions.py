r"""Dimensions: ``4 by 6``, ``10\text{ ft} \times 18\text{ ft}``, in which a product has no unit."""

from __future__ import annotations

import re
from collections.abc import Callable

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import SCALARS, Dimensions, Node, Quantity

__all__ = ["read_dimensions"]

_HEAD = re.compile(
    r"(?i)(?:\\text\s?\{\s*)?(?:the )?(?:dimensions|size)(?: of [a-z ]{1,40})?(?: (?:are|is)|:)[\s~]*(?:\}\s*)?"
    r"(?=[\d\\])"
)
_INNER = re.compile(r"\\text\s?\{([^{}]*?)\bby\s*\}")
_BY = re.compile(r"\s*(?:\\text\s?\{\s*by\s*\}|(?<![a-z])by(?![a-z]))\s*")
_TIMES = re.compile(r"\s*(?:\\times(?![a-z])|(?<=[\s}])[xX](?=\s))\s*")


def read_dimensions(text: str, parse: Callable[[str], Node]) -> Dimensions | None:
    """Return the dimensions that an answer is; ``None`` for every other answer.

    Args:
        text: A cleaned answer.
        parse: Reads one of the parts.
    """
    in_words = "by" in text
    text = _HEAD.sub("", text, count=1)
    if not in_words and "\\text" not in text:
        return None
    pieces = (_BY if in_words else _TIMES).split(_INNER.sub(r"\\text{\1}\\text{ by }", text))
    if not 2 <= len(pieces) <= 3 or not all(piece[:1].isdigit() or piece[:1] == "\\" for piece in pieces):
        return None
    try:
        parts = [parse(piece) for piece in pieces]
    except UnreadableError:
        return None
    last = parts[-1]
    if isinstance(last, Quantity) and in_words:
        parts = [part if isinstance(part, Quantity) else Quantity(part, last.unit) for part in parts]
    measured = all(isinstance(part, Quantity) for part in parts)
    values = [part.value if isinstance(part, Quantity) else part for part in parts]
    if not all(isinstance(value, SCALARS) for value in values) or not (in_words or measured):
        return None
    return Dimensions(tuple(parts))
