"""What the sandbox runs, and what it reports.

Three kinds of job: a `Program` (a script with stdin), `Calls` of a candidate's functions with known arguments, and a
`Check`, tests that run in a second process beside the candidate's. In none of them does an expected value enter the
process that runs the candidate.
"""

from __future__ import annotations

import json
import math
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

from guerdon_sandbox.codec import CodecError, dumps, loads
from guerdon_sandbox.errors import SandboxUsageError
from guerdon_sandbox.inside.wire import Answer, JobLimits, Limit, Request
from guerdon_sandbox.parsing import LARGE_BYTES, parse

R = TypeVar("R", bound="Result")


_LONGEST_NAME = 255
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job may use.

    CPU time is the limit to set. Wall time is the backstop for jobs that sleep. Neither depends on what else the
    machine does: time for which a job waits for a CPU that others have counts for none of them.

    Raises:
        SandboxUsageError: A limit is not a positive number, or not a whole one where it counts something.
    """

    cpu_s: int = 10
    """CPU seconds of each process, whole ones."""
    wall_s: float = 30.0
    """Seconds from the job's start to its end, less what it waited for a CPU."""
    memory_bytes: int = 256 << 20
    """Writable memory of each process. The box as a whole has its own limit."""
    stdout_bytes: int = 1 << 20
    """A program's output, which ends it where it is longer. Of calls and checks the rest is dropped."""
    stderr_bytes: int = 64 << 10
    """What is written beyond that is dropped."""
    reply_bytes: int = 16 << 20
    """All replies of a candidate to its calls together, encoded."""
    reply_items: int = 1 << 18
    """All values in them together: what the host decodes."""
    file_bytes: int = 32 << 20
    """Size of one file. The work folder as a whole holds 64 MiB."""
    processes: int = 32
    """Processes and threads at one time."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            kinds = (int, float) if name == "wall_s" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise SandboxUsageError(f"limit {name} is {value!r}; it must be a whole number")
            if not (0 < value < math.inf):
                raise SandboxUsageError(f"limit {name} is {value!r}; it must be positive and finite")


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended."""

    exit_code: int | None
    """The exit status; None for a process that a signal ended."""
    signal: int | None
    stdout: bytes
    stderr: bytes
    limit: Limit | None
    """The limit that ended the job, if one did."""
    truncated: frozenset[str]
    """Which of ``stdout`` and ``stderr`` were cut at their limit."""
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    """Largest resident size of a process of the job, the interpreter's own included."""
    engine: str
    """The engine that ran it."""

    @property
    def ok(self) -> bool:
        """Whether the process ended by itself with status 0."""
        return self.exit_code == 0 and self.limit is None

    @property
    def ending(self) -> str:
        """The end in a few words, for people: ``exit 1``, ``killed by SIGSEGV``, ``wall limit``."""
        if self.limit is not None:
            return f"{self.limit} limit"
        if self.signal is not None:
            return f"killed by {_signal_name(self.signal)}"
        return f"exit {self.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals between the first and the last have no name
        return f"signal {number}"


@dataclass(frozen=True, slots=True)
class ProgramResult(Result):
    """How a program ended, and what it left."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """The files that ``collect`` named and the program left as regular files."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call's result."""

    value: Any
    """Plain builtins; `guerdon_sandbox.codec.Opaque` for what has no encoding."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A call that raised, or that the candidate did not live to answer."""

    error: str


@dataclass(frozen=True, slots=True)
class CallsResult(Result):
    """What the calls gave."""

    load_error: str | None = None
    """Why the candidate could not be loaded, if it could not."""
    replies: Sequence[Returned | Raised] = ()
    """The calls' results in their order: fewer than calls if the candidate ended before it answered them all."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One test's outcome."""

    passed: bool | None
    """None if the test does something that cannot be done across processes, such as passing a function."""
    why: str = ""
    """The exception, and the line of the test that it came from."""


@dataclass(frozen=True, slots=True)
class CheckResult(Result):
    """What the tests found."""

    outcomes: Sequence[CheckOutcome] = ()
    """The tests' outcomes in their order: fewer than tests if a limit ended the job."""

    @property
    def ok(self) -> bool:
        """Whether all tests were run and passed."""
        return self.limit is None and self.exit_code == 0 and all(one.passed for one in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(ABC, Generic[R]):
    """One thing to run. What it reports is the type parameter."""

    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.env.items():
            _check_text(value)
            _check_text(name)
            if not name or "=" in name:
                raise SandboxUsageError(f"environment variable {name!r} must have a name without '='")

    @abstractmethod
    def payloads(self) -> tuple[str, list[bytes]]:
        """The job's kind and the blobs of its processes, as the supervisor takes them."""

    @abstractmethod
    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> R:
        """Return the supervisor's answer as a result."""

    def not_run(self, limit: Limit) -> R:
        """Return the result of a job that is not run, since others like it ended at this limit."""
        request, _ = self.request()
        return self.result(Answer.killed(limit, request), [b""] * len(request.outputs), "")

    def request(self) -> tuple[Request, list[bytes]]:
        """Return the supervisor's header and blobs for this job."""
        kind, blobs = self.payloads()
        return Request(kind, JobLimits(**asdict(self.limits)), [], [], []), blobs

    def _common(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> dict[str, Any]:
        status = answer.status
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return {
            "exit_code": os.WEXITSTATUS(status) if killed_by is None else None,
            "signal": killed_by,
            "stdout": blobs[0],
            "stderr": blobs[1],
            "limit": _limit(answer, killed_by, blobs[1], self.limits),
            "truncated": frozenset(answer.truncated),
            "wall_s": answer.wall_s,
            "cpu_s": answer.cpu_s,
            "peak_memory_bytes": answer.peak_kib << 10,
            "engine": engine,
        }


def _limit(answer: Answer, killed_by: int | None, stderr: bytes, limits: Limits) -> Limit | None:
    if answer.limit is not None:
        return answer.limit
    if killed_by == signal.SIGXCPU or (killed_by == signal.SIGKILL and answer.cpu_s >= limits.cpu_s):
        return Limit.CPU
    if answer.status and stderr.rstrip().endswith(b"MemoryError"):
        return Limit.MEMORY
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Job[ProgramResult]):
    """A Python program, or with ``command`` any other, in a folder of its own.

    Raises:
        SandboxUsageError: A path is not one of a file in the work folder, or a text cannot be passed to a process.
    """

    source: str = ""
    """Runs as ``main.py``."""
    command: Sequence[str] = ()
    """Runs in place of ``source``."""
    argv: Sequence[str] = ()
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents by path inside the work folder."""
    executables: frozenset[str] = frozenset()
    """The files to mark executable."""
    collect: Sequence[str] = ()
    """Files to bring back."""

    def __post_init__(self) -> None:
        for path in (*self.files, *self.executables, *self.collect):
            _check_path(path)
        _check_tree(self.files)
        for text in (*self.command, *self.argv):
            _check_text(text)
        Job.__post_init__(self)

    def payloads(self) -> tuple[str, list[bytes]]:
        payload = {"source": self.source, "command": self.command, "argv": self.argv, "env": dict(self.env)}
        return "program", [json.dumps(payload).encode(), self.stdin]

    def request(self) -> tuple[Request, list[bytes]]:
        request, blobs = Job.request(self)
        request = request._replace(
            files=list(self.files), executables=list(self.executables), collect=list(self.collect)
        )
        return request, [*blobs, *self.files.values()]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> ProgramResult:
        present = [path for path in self.collect if path not in answer.missing]
        return ProgramResult(
            **self._common(answer, blobs, engine), files=dict(zip(present, blobs[2:], strict=True))
        )


def _check_path(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise SandboxUsageError(
            f"path {path!r} is not inside the work folder; give a relative path without '..'"
        )
    _check_text(path)
    if len(os.fsencode(path)) > _LONGEST_PATH or any(
        len(os.fsencode(part)) > _LONGEST_NAME for part in parts
    ):
        raise SandboxUsageError(
            f"path {path[:40]!r}… is too long; a name may have {_LONGEST_NAME} bytes, a path {_LONGEST_PATH}"
        )


def _check_tree(paths: Iterable[str]) -> None:
    """Refuse files that would be in each other's place."""
    files = [PurePosixPath(path) for path in paths]
    taken = set(files)
    if len(taken) < len(files):
        raise SandboxUsageError("two of the files have the same path; give each its own")
    for file in files:
        for folder in file.parents:
            if folder in taken:
                raise SandboxUsageError(
                    f"file {str(folder)!r} would be the folder of {str(file)!r}; rename one"
                )


def _check_text(text: str) -> None:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise SandboxUsageError(
            f"text {text[:40]!r} cannot be encoded for a process; remove its surrogates"
        ) from None
    if "\0" in text:
        raise SandboxUsageError(f"text {text[:40]!r} holds a NUL, which no process can be given; remove it")


@dataclass(frozen=True, slots=True)
class Call:
    """A call with plain arguments."""

    function: str
    """A global of the candidate, or a method of its class ``Solution``."""
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls(Job[CallsResult]):
    """Calls of a candidate's functions, one after the other in one process."""

    source: str
    calls: Sequence[Call]
    prelude: str = ""
    """Trusted code that runs before the source; a source that is no program by itself continues it."""
    ambient: str = ""
    """Trusted code whose names the source finds as it finds builtins: below its own, and not callable from outside."""

    def payloads(self) -> tuple[str, list[bytes]]:
        requests = (dumps(["call", call.function, list(call.args), dict(call.kwargs)]) for call in self.calls)
        candidate = _candidate(self.source, self.prelude, self.env, self.ambient)
        return "calls", [candidate, b"".join(map(_frame, requests))]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CallsResult:
        budget = _Budget(self.limits.reply_items)
        frames = [_reply(frame, budget) for frame in _frames(blobs[2], 2 + len(self.calls))]
        load_error = None
        if frames and isinstance(frames[0], Raised):
            load_error, frames = frames[0].error, []
        return CallsResult(
            **self._common(answer, blobs, engine),
            load_error=load_error,
            replies=frames[1 : len(self.calls) + 1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Job[CheckResult]):
    """Tests that call a candidate's functions from a process of their own."""

    source: str
    tests: Sequence[str]
    """Each is run in order, in one namespace, and passes if it raises nothing."""
    names: Sequence[str]
    """The names in the tests that stand for the candidate's functions and classes."""
    prelude: str = ""
    """Trusted code that runs first on both sides; a source that is no program by itself continues it."""
    setup: str = ""
    """Trusted code that runs before the tests, on their side only."""

    def payloads(self) -> tuple[str, list[bytes]]:
        checker = {"prelude": self.prelude, "setup": self.setup, "names": self.names, "tests": self.tests}
        return "check", [_candidate(self.source, self.prelude, self.env), json.dumps(checker).encode()]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CheckResult:
        outcomes = [CheckOutcome(*loads(frame)) for frame in _frames(blobs[2], len(self.tests))]
        return CheckResult(**self._common(answer, blobs, engine), outcomes=outcomes)


def _candidate(source: str, prelude: str, env: Mapping[str, str], ambient: str = "") -> bytes:
    payload = {"source": source, "prelude": prelude, "ambient": ambient, "env": dict(env)}
    return json.dumps(payload).encode()


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _frames(data: bytes, most: int) -> list[bytes]:
    """Return the complete frames at the start of a stream that may end anywhere."""
    frames: list[bytes] = []
    position = 0
    while position + 4 <= len(data) and len(frames) < most:
        end = position + 4 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        frames.append(data[position + 4 : end])
        position = end
    return frames


class _Budget:
    """How many values of a job's replies are decoded, so that no reply costs the host time and memory at will."""

    def __init__(self, items: int) -> None:
        self._left = items

    def allows(self, frame: bytes) -> bool:
        """Take a frame's values off. What separates values is counted, also within texts."""
        self._left -= 1 + sum(map(frame.count, (b",", b"[", b"{", b"\\")))
        return self._left >= 0


def _reply(frame: bytes, budget: _Budget) -> Returned | Raised:
    """Return a candidate's reply. The bytes come from the candidate's process and may be anything."""
    if not budget.allows(frame):
        return Raised("the reply holds more values than are read")
    try:
        match loads(frame, parse=parse if len(frame) > LARGE_BYTES else json.loads):
            case ["ready"]:
                return Returned(None)
            case ["value", value, _]:
                return Returned(value)
            case ["raised", str(name), str(text)]:
                return Raised(f"{name}: {text}" if text else name)
    except CodecError as error:
        return Raised(f"the reply cannot be read: {error}")
    return Raised("the reply is malformed")
