"""The supervisor's stream to the host, stdin and stdout, and the files and pipes of programs.

It runs in the supervisor, and needs the standard library only.
"""

import os
import select
from collections.abc import Sequence
from typing import Any, NamedTuple

from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.wire import Request

_PORTION_BYTES = 1 << 16
IDLE_S = 900.0
"""Seconds without a request after which a box ends, because the host may have vanished without closing the
connection.
"""


class Blobs(NamedTuple):
    """A request's blobs. The first two go to the job's processes as memory files, which the supervisor never reads."""

    payload: int
    given: int
    """The candidate's stdin, its calls, or the checker's payload."""
    files: list[bytes]


def read_request() -> tuple[Request, Blobs]:
    """Return the next request and its blobs. End with the host's connection, or after a long silence."""
    size = 0
    while size == 0:  # an abort that came too late
        if not select.select([0], [], [], IDLE_S)[0]:
            os._exit(0)
        size = wire.header_size(read_exactly(4))
    request, (payload, given, *files) = wire.decode_request(read_exactly(size))
    return request, Blobs(memory_file(payload), memory_file(given), [read_exactly(file) for file in files])


def memory_file(size: int = 0) -> int:
    """Copy this many bytes of stdin into a file in memory."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    while size:
        chunk = _read_some(size)
        size -= len(chunk)
        _write_all(fd, chunk)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def output_pipe() -> tuple[int, int]:
    """Return both ends of a pipe for a program's output. Reading does not block.

    A program under any uid may open its end again, as ``/dev/stdout`` and ``/dev/stderr``.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.fchmod(write_end, 0o622)
    return read_end, write_end


def read_exactly(size: int) -> bytes:
    """Return so many bytes of stdin."""
    data = bytearray()
    while len(data) < size:
        data += _read_some(size - len(data))
    return bytes(data)


def _read_some(most: int) -> bytes:
    chunk = os.read(0, min(most, 1 << 20))
    if not chunk:
        os._exit(0)
    return chunk


def write_answer(header: dict[str, Any], blobs: Sequence[bytes | bytearray]) -> None:
    """Write a message to stdout."""
    parts = [wire.encode(header, blobs), *blobs]
    if sum(map(len, parts)) <= _PORTION_BYTES:  # one write, because each costs the engine as much
        parts = [b"".join(parts)]
    for part in parts:
        _write_all(1, part)


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
