"""Frames between the processes of a job: a length of four bytes, then an encoded value.

It needs only the standard library.
"""

import struct
from collections.abc import Iterator
from typing import Any

from guerdon_sandbox.codec import CodecError

MAX_REPLY = 16 << 20
"""The largest frame from a candidate, in bytes."""
MAX_REQUEST = 256 << 20
"""The largest frame to a candidate, in bytes. It comes from the test and may be as large as memory allows."""


def read_frames(stream: Any, limit: int) -> Iterator[bytes]:
    """Yield complete frames until the stream ends.

    Raises:
        CodecError: A frame is larger than the limit.
    """
    while len(head := stream.read(4)) == 4:
        (size,) = struct.unpack(">I", head)
        if size > limit:
            raise CodecError(f"a frame of {size} bytes; at most {limit} can cross")
        frame = stream.read(size)
        if len(frame) < size:
            return
        yield frame


def send_frame(stream: Any, frame: bytes) -> None:
    """Write one frame."""
    stream.write(struct.pack(">I", len(frame)) + frame)
    stream.flush()
