"""The messages between the host and a box's supervisor: a length, a JSON header, then the blobs that it announces.

The host treats what comes out of a box as hostile: every field is checked before it is used. This module runs on both
sides, so it needs only the standard library.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

MAX_HEADER_BYTES = 1 << 20
VERDICT_BYTES = 1 << 20
"""The limit of a checker's outcomes in one job, in bytes."""
COLLECT_BYTES = 16 << 20
"""The largest file that is returned, in bytes."""
COLLECT_TOTAL_BYTES = 64 << 20
"""The limit of all files that one job returns, in bytes."""
ABORT = bytes(4)
"""Ends the current job: a header of no bytes. Ignored between jobs, where it is too late."""

_OUTPUTS = frozenset({"stdout", "stderr", "replies", "verdict"})
_SIGKILL = 9


class Limit(StrEnum):
    """The limit that ended a job."""

    WALL = "wall"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    BOX = "box"
    """The job ended several boxes, while other jobs ran well in new ones."""
    STARVED = "starved"
    """Other work kept the CPU from the job. Never in a result: the host raises `SandboxOverloadedError`."""
    CANCELLED = "cancelled"
    """The host no longer needs a result. Never in a result."""


class WireError(ValueError):
    """Bytes that are not a message."""


class JobLimits(NamedTuple):
    """A job's limits; the fields of `guerdon_sandbox.Limits`."""

    cpu_s: int
    wall_s: float
    memory_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    reply_bytes: int
    reply_items: int
    file_bytes: int
    processes: int

    def cap(self, output: str) -> int:
        """Return how many bytes of an output are kept."""
        if output == "verdict":
            return VERDICT_BYTES
        return {"stdout": self.stdout_bytes, "stderr": self.stderr_bytes, "replies": self.reply_bytes}[output]


class Request(NamedTuple):
    """One job. Its blobs: the candidate's payload; stdin, the calls or the checker's payload; the files' contents."""

    kind: str
    """``program``, ``calls`` or ``check``."""
    limits: JobLimits
    files: Sequence[str]
    executables: Sequence[str]
    collect: Sequence[str]
    numpy: Sequence[bool]
    """Which of the job's processes, the candidate's before the checker's, start with numpy imported."""
    cpus: float = 1.0
    """CPUs that the box may use."""
    patience_s: float = 0.0
    """Seconds that the job may wait for a CPU."""

    @property
    def outputs(self) -> Sequence[str]:
        """Return the first blobs of the answer."""
        return ("stdout", "stderr", *{"calls": ["replies"], "check": ["verdict"]}.get(self.kind, []))

    @property
    def output_bytes(self) -> int:
        """Return the largest total size of these."""
        return sum(map(self.limits.cap, self.outputs))


class Answer(NamedTuple):
    """How a job ended. Its blobs: stdout, stderr, replies or verdict, then the collected files."""

    status: int
    """The wait status of the process that decides."""
    limit: Limit | None
    truncated: Sequence[str]
    wall_s: float
    waited_s: float
    cpu_s: float
    peak_kib: int
    dirty: str | None
    """Why the box must not be used again, if so."""
    missing: Sequence[str]
    """Files to collect that the job did not leave."""
    error: str | None = None
    """What went wrong in the supervisor, so that nothing is known of the job."""
    host_fault: bool = False
    """Whether no job can have caused that."""

    @classmethod
    def killed(cls, limit: Limit | None, request: Request, error: str | None = None) -> "Answer":
        """Return the answer for a job of which only this is known."""
        return cls(_SIGKILL, limit, [], 0.0, 0.0, 0.0, 0, error, request.collect, error)


def encode(header: Mapping[str, Any], blobs: Sequence[bytes | bytearray]) -> bytes:
    """Return the start of a message: all but the blobs."""
    encoded = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    return struct.pack(">I", len(encoded)) + encoded


def header_size(data: bytes) -> int:
    """Return the length of the header that four bytes announce.

    Raises:
        WireError: No header is that long.
    """
    size = int.from_bytes(data, "big")
    if size > MAX_HEADER_BYTES:
        raise WireError(f"a header of {size} bytes; at most {MAX_HEADER_BYTES} are allowed")
    return size


def decode_request(data: bytes) -> tuple[Request, list[int]]:
    """Return a request and its blobs' sizes."""
    fields = json.loads(data)
    sizes: list[int] = fields.pop("sizes")
    return Request(**fields)._replace(limits=JobLimits(*fields["limits"])), sizes


def decode_answer(data: bytes, request: Request) -> tuple[Answer, list[int]]:
    """Return an answer and its blobs' sizes.

    Raises:
        WireError: The bytes are not an answer to this request.
    """
    try:
        fields = json.loads(data)
        sizes = fields.pop("sizes")
        answer = Answer(**fields)
        _check(answer, sizes, request)
        limit = Limit(answer.limit) if answer.limit is not None else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"not an answer: {error}") from None
    return answer._replace(limit=limit), sizes


def _check(answer: Answer, sizes: object, request: Request) -> None:
    if not (_is_int(answer.status) and _is_int(answer.peak_kib) and answer.status < 1 << 16):
        raise ValueError("a count is not a number")
    for seconds in (answer.wall_s, answer.waited_s, answer.cpu_s):
        if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
            raise ValueError("a time is not a number")
    for text in (answer.dirty, answer.error):
        if text is not None and not isinstance(text, str):
            raise ValueError("a reason is not a text")
    if not isinstance(answer.host_fault, bool):
        raise ValueError("a flag is not true or false")
    if not _subset(answer.truncated, _OUTPUTS) or not _subset(answer.missing, request.collect):
        raise ValueError("a name is unknown")
    if not isinstance(sizes, list) or not all(map(_is_int, sizes)):
        raise ValueError("a size is not a number")
    expected = len(request.outputs) + len(request.collect) - len(answer.missing)
    if answer.error is None and len(sizes) != expected:
        raise ValueError(f"{len(sizes)} blobs, not {expected}")
    most = request.output_bytes + min(COLLECT_TOTAL_BYTES, COLLECT_BYTES * len(request.collect))
    if sum(sizes) > most:
        raise ValueError(f"blobs of {sum(sizes)} bytes; at most {most} are allowed")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _subset(names: object, known: object) -> bool:
    return (
        isinstance(names, list)
        and len(set(names)) == len(names)
        and all(isinstance(name, str) for name in names)
        and set(names) <= set(known)  # type: ignore[call-overload]
    )
