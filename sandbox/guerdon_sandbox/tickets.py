"""The jobs of a pool's queue, and their callers' deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from guerdon_sandbox.inside.wire import Request
from guerdon_sandbox.jobs import Job

CLOSED = "the sandbox was closed"
"""The message of the error for jobs that were not finished then."""


class Clock(Protocol):
    """A deadline of the caller. It stops during a job, and is charged with the time that the job itself used."""

    def pause(self) -> None:
        """Stop the clock."""

    def resume(self, spent_s: float = 0.0) -> None:
        """Start the clock again, with this much less time left."""


class NoClock:
    """The clock of a caller without a deadline."""

    def pause(self) -> None:
        pass

    def resume(self, spent_s: float = 0.0) -> None:
        pass


@dataclass(slots=True, eq=False)
class Ticket:
    """A job in the queue, and what became of it so far."""

    job: Job[Any]
    request: Request
    blobs: Sequence[bytes]
    answer: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)
    losses: list[float] = field(default_factory=list)
    """The times at which boxes died during the job."""
    trials: list[Ticket] = field(default_factory=list)
    """Idle jobs that ran with it after each loss, for as long as it had run."""
    is_trial: bool = False
    spent_s: float = 0.0
    """Seconds that it ran, without its waits for a CPU."""

    def fail(self, error: Exception) -> None:
        """Set an error as the answer, unless there is an answer or the caller is gone."""
        with contextlib.suppress(asyncio.InvalidStateError):
            self.answer.set_exception(error)
