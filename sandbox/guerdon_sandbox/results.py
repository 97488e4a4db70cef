"""The results of jobs."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon_sandbox.inside.wire import Limit


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
