"""Parse large JSON in a thread without stopping the other threads.

The standard library's parser is one call in C, which holds the interpreter's lock to its end: 16 MiB of a hostile reply
would stop the event loop for seconds. Its parts in Python still read each text and number in one call. This parser
reads what `guerdon_sandbox.codec.dumps` writes, and no call in it reads more than 64 KiB.
"""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

LARGE_BYTES = 16 << 10
"""Up to this size, the parser in C takes at most a few milliseconds."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,19}+)(\.[0-9]{1,20}+)?+([eE][+-]?[0-9]{1,3}+)?+")
"""Larger integers are texts in the codec."""
_WORDS = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
    "N": ("NaN", float("nan")),
    "I": ("Infinity", float("inf")),
    "-": ("-Infinity", float("-inf")),
}
_PIECE = re.compile(
    r'(?:[^"\\]{1,1024}+|\\u[dD][89abAB][\dA-Fa-f]{2}\\u[dD][c-fC-F][\dA-Fa-f]{2}|\\u[\dA-Fa-f]{4}|\\.){0,64}+',
    re.DOTALL,
)
"""A piece of a text that ends between two characters. The escapes of a surrogate pair are one."""


def parse(data: bytes) -> Any:
    """Return the value of JSON without white space, in which each object has one key.

    Raises:
        ValueError: The bytes are something else.
        RecursionError: It is nested too deeply.
    """
    text = data.decode()
    value, end = _value(text, 0)
    if end != len(text):
        raise _unexpected(text, end)
    return value


def _value(text: str, start: int) -> tuple[Any, int]:
    """Return the value that starts here, and where it ends."""
    first = text[start : start + 1]
    if first == '"':
        return _string(text, start + 1)
    if first == "[":
        return _array(text, start + 1)
    if first == "{":
        return _object(text, start + 1)
    number = _NUMBER.match(text, start)
    if number is not None:
        return (float if number[1] or number[2] else int)(number[0]), number.end()
    word, value = _WORDS.get(first, ("", None))
    if not word or not text.startswith(word, start):
        raise _unexpected(text, start)
    return value, start + len(word)


def _array(text: str, at: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    if text.startswith("]", at):
        return items, at + 1
    while True:
        item, at = _value(text, at)
        items.append(item)
        at += 1
        if text.startswith("]", at - 1):
            return items, at
        if not text.startswith(",", at - 1):
            raise _unexpected(text, at - 1)


def _object(text: str, at: int) -> tuple[dict[str, Any], int]:
    if not text.startswith('"', at):
        raise _unexpected(text, at)
    key, at = _string(text, at + 1)
    if not text.startswith(":", at):
        raise _unexpected(text, at)
    value, at = _value(text, at + 1)
    if not text.startswith("}", at):
        raise _unexpected(text, at)
    return {key: value}, at + 1


def _string(text: str, at: int) -> tuple[str, int]:
    pieces: list[str] = []
    while not text.startswith('"', at):
        end = _PIECE.match(text, at).end()  # type: ignore[union-attr]  # it matches an empty text
        if end == at:
            raise _unexpected(text, at)
        pieces.append(scanstring(text[at:end] + '"', 0)[0])
        at = end
    return "".join(pieces), at + 1


def _unexpected(text: str, at: int) -> ValueError:
    return ValueError(f"{text[at : at + 10]!r} at {at}")
