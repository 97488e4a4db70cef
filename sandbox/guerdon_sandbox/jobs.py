"""The jobs of the sandbox.

There are three kinds of job: a `Program` (a script with stdin), `Calls` of a candidate's functions with known
arguments, and a `Check`, tests that run in a second process. In none of them does an expected
value enter the process that runs the candidate.
"""

from __future__ import annotations

import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from guerdon_sandbox.codec import dumps, loads
from guerdon_sandbox.errors import SandboxUsageError
from guerdon_sandbox.given import check_path, check_text, check_tree
from guerdon_sandbox.inside.wire import Answer, JobLimits, Limit, Request
from guerdon_sandbox.limits import Limits
from guerdon_sandbox.replies import Budget, as_frame, read_reply, split_frames
from guerdon_sandbox.results import CallsResult, CheckOutcome, CheckResult, ProgramResult, Raised, Result

R = TypeVar("R", bound="Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(ABC, Generic[R]):
    """One job to run, with the type of its result as type parameter."""

    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.env.items():
            check_text(value)
            check_text(name)
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
        limits = JobLimits(*(getattr(self.limits, name) for name in JobLimits._fields))
        return Request(kind, limits, [], [], [], numpy), blobs

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
            check_path(path)
        check_tree(self.files)
        for text in (*self.command, *self.argv):
            check_text(text)
        Job.__post_init__(self)

    def payloads(self) -> tuple[str, list[bytes]]:
        payload = {"source": self.source, "command": self.command, "argv": self.argv, "env": dict(self.env)}
        return "program", [_json(payload), self.stdin]

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
        return "calls", [candidate, b"".join(map(as_frame, requests))]

    def sources(self) -> list[str]:
        return ["\n".join([self.ambient, self.prelude, self.source])]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CallsResult:
        budget = Budget(self.limits.reply_items)
        replies = [read_reply(frame, budget) for frame in split_frames(blobs[2], 2 + len(self.calls))]
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
    values: Sequence[str] = ()
    """Which of the names may be plain values, such as constants."""
    stand_ins: Sequence[str] = ()
    """Literals. A test that passes although every call returns None, a bare object or one of these tests nothing."""

    def payloads(self) -> tuple[str, list[bytes]]:
        names = ("prelude", "setup", "names", "tests", "classes", "exceptions", "in_place", "values")
        checker = {name: getattr(self, name) for name in (*names, "stand_ins")}
        return "check", [_candidate(self.source, self.prelude, self.env, names=self.names), _json(checker)]

    def sources(self) -> list[str]:
        return ["\n".join([self.prelude, self.source]), "\n".join([self.prelude, self.setup, *self.tests])]

    def result(self, answer: Answer, blobs: Sequence[bytes], engine: str) -> CheckResult:
        outcomes = [CheckOutcome(*loads(frame)) for frame in split_frames(blobs[2], len(self.tests))]
        return CheckResult(**self._common(answer, blobs, engine), outcomes=outcomes)


def _candidate(
    source: str, prelude: str, env: Mapping[str, str], ambient: str = "", names: Sequence[str] = ()
) -> bytes:
    return _json(
        {"source": source, "prelude": prelude, "ambient": ambient, "env": dict(env), "names": list(names)}
    )


def _json(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode(errors="surrogatepass")  # as `json.loads` decodes
