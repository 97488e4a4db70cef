"""The jobs of the sandbox, and their results.

There are three kinds of job: a `Program` (a script with stdin), `Calls` of a candidate's functions with known
arguments, and a `Check`, tests that run in a second process beside the candidate's. In none of them does an expected
value enter the process that runs the candidate.
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
    """A job's limits.

    CPU time is the main limit. Wall time limits jobs that sleep. Neither depends on the machine's other work: time in
    which a job waits for a CPU does not count.

    Raises:
        SandboxUsageError: A limit is not a positive number, or not a whole one where it counts something.
    """

    cpu_s: int = 10
    """CPU seconds of each process, whole ones."""
    wall_s: float = 30.0
    """Seconds from the job's start to its end, without its waits for a CPU."""
    memory_bytes: int = 256 << 20
    """Writable memory of each process. The box as a whole has its own limit."""
    stdout_bytes: int = 1 << 20
    """The limit of a program's output; a longer one ends the program. For calls and checks, the rest is dropped."""
    stderr_bytes: int = 64 << 10
    """The limit of error output; the rest is dropped."""
    reply_bytes: int = 16 << 20
    """The limit of all replies of a candidate to its calls together, encoded."""
    reply_items: int = 1 << 18
    """The limit of all values in them together, which the host decodes."""
    file_bytes: int = 32 << 20
    """The size of one file. The work folder as a whole holds 64 MiB."""
    processes: int = 32
    """The most concurrent processes and threads."""

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
    """Those of ``stdout`` and ``stderr`` that were truncated at their limit."""
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    """Largest resident size of a process of the job, the interpreter's own included."""
    engine: str
    """The engine that ran it."""

    @property
    def ok(self) -> bool:
        """Return whether the process ended normally with status 0."""
        return self.exit_code == 0 and self.limit is None

    @property
    def ending(self) -> str:
        """Return the end in a few words, for people: ``exit 1``, ``killed by SIGSEGV``, ``wall limit``."""
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
    """How a program ended, with its files."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """The regular files that ``collect`` named and the program wrote."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call's result."""

    value: Any
    """Plain values; `guerdon_sandbox.codec.Opaque` for a value without an encoding."""
    arguments: Sequence[Any] = field(default=(), compare=False)
    """The lists, dicts and sets of a call that returned None, after the call; None instead of its other arguments."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A call that raised, or during which the candidate ended."""

    error: str


@dataclass(frozen=True, slots=True)
class CallsResult(Result):
    """The results of the calls."""

    load_error: str | None = None
    """Why the candidate could not be loaded, if it could not."""
    prelude_error: str | None = None
    """Why the trusted code before the candidate failed, if it did. Nothing is known of the candidate then."""
    replies: Sequence[Returned | Raised] = ()
    """The calls' results in their order: fewer than calls if the candidate ended before it answered them all."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One test's outcome."""

    passed: bool | None
    """None if the test decides nothing: it fails by itself, asserts nothing, or cannot be run across processes."""
    why: str = ""
    """The exception, and the line of the test that it came from."""


@dataclass(frozen=True, slots=True)
class CheckResult(Result):
    """The results of the tests."""

    outcomes: Sequence[CheckOutcome] = ()
    """The tests' outcomes in their order: fewer than tests if a limit ended the job."""

    @property
    def ok(self) -> bool:
        """Return whether all tests ran and passed."""
        return self.limit is None and self.exit_code == 0 and all(one.passed for one in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(ABC, Generic[R]):
    """One job to run, with the type of its result as type parameter."""

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
        """Return the job's kind and the blobs of its processes, as the supervisor expects them."""

    @abstractmethod
    def sources(self) -> list[str]:
        """Return the sources that the processes of the job run."""

    @abstractmethod
    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> R:
        """Return the supervisor's answer as a result."""

    def not_run(self, limit: Limit) -> R:
        """Return the result of a job that is not run, because similar ones ended at this limit."""
        request, _ = self.request()
        return self.result(Answer.killed(limit, request), [b""] * len(request.outputs), "")

    def request(self) -> tuple[Request, list[bytes]]:
        """Return the supervisor's header and blobs for this job."""
        kind, blobs = self.payloads()
        numpy = ["numpy" in source for source in self.sources()]
        return Request(kind, JobLimits(**asdict(self.limits)), [], [], [], numpy), blobs

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
    """A Python program, or with ``command`` any other program, in its own folder.

    Raises:
        SandboxUsageError: A path is not inside the work folder, or a text cannot be passed to a process.
    """

    source: str = ""
    """Runs as ``main.py``."""
    command: Sequence[str] = ()
    """Runs instead of ``source``."""
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

    def sources(self) -> list[str]:
        return [self.source]

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
    """Refuse files whose paths conflict."""
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
    """Trusted code that runs before the source; a source that is not a whole program continues it."""
    ambient: str = ""
    """Trusted code whose names the source can use like builtins. They are not callable from outside."""

    def payloads(self) -> tuple[str, list[bytes]]:
        requests = [
            dumps(["call", call.function, list(call.args), dict(call.kwargs), "if none"])
            for call in self.calls
        ]
        candidate = _candidate(self.source, self.prelude, self.env, self.ambient)
        return "calls", [candidate, b"".join(map(_frame, requests))]

    def sources(self) -> list[str]:
        return ["\n".join([self.ambient, self.prelude, self.source])]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CallsResult:
        budget = _Budget(self.limits.reply_items)
        replies = [_reply(frame, budget) for frame in _frames(blobs[2], 2 + len(self.calls))]
        common = self._common(answer, blobs, engine)
        # No candidate code runs before the first frame, so only the trusted side can have written it.
        if replies and isinstance(replies[0], Raised):
            return CallsResult(**common, prelude_error=replies[0].error)
        if len(replies) > 1 and isinstance(replies[1], Raised):
            return CallsResult(**common, load_error=replies[1].error)
        return CallsResult(**common, replies=replies[2:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Job[CheckResult]):
    """Tests that call a candidate's functions from their own process."""

    source: str
    tests: Sequence[str]
    """Each is run in order, in one namespace, and passes if it raises nothing."""
    names: Sequence[str]
    """The names in the tests for the candidate's functions and classes."""
    prelude: str = ""
    """Trusted code that runs first on both sides; a source that is not a whole program continues it."""
    setup: str = ""
    """Trusted code that runs before the tests, on their side only."""
    classes: Sequence[str] = ()
    """Which of the names are classes whose objects the tests use with operators."""
    exceptions: Sequence[str] = ()
    """Which of the names are exceptions that the tests catch."""
    in_place: Sequence[int] = ()
    """The tests, by index, that check what a call does to its arguments."""
    stand_ins: Sequence[str] = ()
    """Literals. A test that passes although every call returns None, a bare object or one of these tests nothing."""

    def payloads(self) -> tuple[str, list[bytes]]:
        names = ("prelude", "setup", "names", "tests", "classes", "exceptions", "in_place", "stand_ins")
        checker = {name: getattr(self, name) for name in names}
        return "check", [_candidate(self.source, self.prelude, self.env), json.dumps(checker).encode()]

    def sources(self) -> list[str]:
        return ["\n".join([self.prelude, self.source]), "\n".join([self.prelude, self.setup, *self.tests])]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CheckResult:
        outcomes = [CheckOutcome(*loads(frame)) for frame in _frames(blobs[2], len(self.tests))]
        return CheckResult(**self._common(answer, blobs, engine), outcomes=outcomes)


def _candidate(source: str, prelude: str, env: Mapping[str, str], ambient: str = "") -> bytes:
    payload = {"source": source, "prelude": prelude, "ambient": ambient, "env": dict(env)}
    return json.dumps(payload).encode()


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _frames(data: bytes, most: int) -> list[bytes]:
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


class _Budget:
    """Limits the number of decoded values of a job's replies, and so the host's time and memory."""

    def __init__(self, items: int) -> None:
        self._left = items

    def allows(self, frame: bytes) -> bool:
        """Subtract a frame's values. The separators of values are counted, also inside texts."""
        self._left -= 1 + sum(map(frame.count, (b",", b"[", b"{", b"\\")))
        return self._left >= 0


def _reply(frame: bytes, budget: _Budget) -> Returned | Raised:
    """Return a candidate's reply. The bytes come from the candidate's process and may be anything."""
    if not budget.allows(frame):
        return Raised("the reply holds more values than are read")
    try:
        match loads(frame, parse=parse if len(frame) > LARGE_BYTES else json.loads):
            case ["began"] | ["ready"]:
                return Returned(None)
            case ["value", value, list(arguments), dict()]:
                return Returned(value, arguments)
            case ["broken", str(name), str(text)] | ["raised", str(name), str(text), list(), _]:
                return Raised(f"{name}: {text}" if text else name)
    except CodecError as error:
        return Raised(f"the reply cannot be read: {error}")
    return Raised("the reply is malformed")
