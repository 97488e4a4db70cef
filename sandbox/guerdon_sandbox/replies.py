"""Read the replies of candidates to calls. The bytes come from their process and may be anything."""

from __future__ import annotations

import json

from guerdon_sandbox.codec import CodecError, loads
from guerdon_sandbox.parsing import LARGE_BYTES, parse
from guerdon_sandbox.results import Raised, Returned

_PORTION_BYTES = 1 << 16


def as_frame(data: bytes) -> bytes:
    """Return bytes with their length before them."""
    return len(data).to_bytes(4, "big") + data


def split_frames(data: bytes, most: int) -> list[bytes]:
    """Return the complete frames at the start of a stream that may be truncated anywhere."""
    frames: list[bytes] = []
    position = 0
    while position + 4 <= len(data) and len(frames) < most:
        end = position + 4 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        frames.append(data[position + 4 : end])
        position = end
    return frames


class Budget:
    """Limits the number of decoded values of a job's replies, and so the host's time and memory."""

    def __init__(self, items: int) -> None:
        self._left = items

    def allows(self, frame: bytes) -> bool:
        """Subtract a frame's values. The separators of values are counted, also inside texts."""
        self._left -= 1
        for start in range(0, len(frame), _PORTION_BYTES):
            portion = frame[start : start + _PORTION_BYTES]
            self._left -= sum(map(portion.count, (b",", b"[", b"{", b"\\")))
            if self._left < 0:
                break
        return self._left >= 0


def read_reply(frame: bytes, budget: Budget) -> Returned | Raised:
    """Return a candidate's reply. The bytes come from the candidate's process and may be anything."""
    if not budget.allows(frame):
        return Raised("the reply holds more values than are read")
    try:
        match loads(frame, parse=parse if len(frame) > LARGE_BYTES else json.loads):
            case ["began"] | ["ready"]:
                return Returned(None)
            case ["value", value, list(arguments), dict()]:
                return Returned(value, arguments)
            case ["broken", str(name), str(text)] | ["raised", str(name), str(text), list(), _, dict()]:
                return Raised(f"{name}: {text}" if text else name)
    except CodecError as error:
        return Raised(f"the reply cannot be read: {error}")
    return Raised("the reply is malformed")
