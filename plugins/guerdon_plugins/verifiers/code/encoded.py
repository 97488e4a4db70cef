"""Unpack LiveCodeBench's test cases: JSON text, or base64 of zlib of a pickled JSON text."""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

_MAX_BYTES = 256 << 20
"""The largest unpacked set of cases."""
_TEXT = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"})
_HARMLESS = frozenset({"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"})


def unpack_cases(packed: str) -> Any:
    """Return the JSON value of a packed text. Nothing in it is ever executed.

    Raises:
        ValueError: The text is neither JSON nor packed in this form.
    """
    try:
        return json.loads(packed)
    except ValueError:
        pass
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(packed, validate=True), _MAX_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"neither JSON nor base64 of zlib: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {_MAX_BYTES >> 20} MiB unpacked")
    return json.loads(_pickled_text(data))


def _pickled_text(data: bytes) -> str:
    """Return the one text in a pickle without unpickling it, because a pickle can run code."""
    texts = []
    for code, argument, _ in pickletools.genops(data):
        if code.name in _TEXT:
            texts.append(argument)
        elif code.name not in _HARMLESS:
            raise ValueError(f"a pickle of more than one text ({code.name})")
    if len(texts) != 1:
        raise ValueError(f"a pickle of {len(texts)} texts")
    return str(texts[0])
