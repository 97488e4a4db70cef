"""Jobs whose boxes are lost: they run again, together with trials that show whether they are at fault."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from guerdon_sandbox.box import BoxLostError
from guerdon_sandbox.engine import Engine
from guerdon_sandbox.errors import SandboxUnavailableError
from guerdon_sandbox.inside.wire import Answer, Limit
from guerdon_sandbox.jobs import Job, Program
from guerdon_sandbox.limits import Limits
from guerdon_sandbox.tickets import CLOSED, Ticket

ATTEMPTS = 3
"""The most boxes that one job may lose before it fails."""
LONGEST_TRIAL_S = 10.0
"""The longest trial in seconds: an idle job that runs at the same time as a job that lost its box."""

_log = logging.getLogger(__name__)


class Losses:
    """The lost boxes of a pool, in one event loop."""

    def __init__(
        self,
        ticket_of: Callable[[Job[Any]], Ticket],
        put_first: Callable[[Ticket], Awaitable[None]],
        report: Callable[[Ticket, Answer, Sequence[bytes], Engine], Awaitable[None]],
    ) -> None:
        """Start without any.

        Args:
            ticket_of: Returns the ticket of a job of the pool's own.
            put_first: Puts a ticket before the queue.
            report: Returns a job's result to its caller.
        """
        self._ticket_of = ticket_of
        self._put_first = put_first
        self._report = report
        self.tasks: set[asyncio.Task[None]] = set()
        """For each job that lost all its boxes, the task that determines the cause."""
        self._rerun: set[Ticket] = set()
        """The jobs that lost a box, run again and have no result yet."""
        self._unblamed_s = -math.inf
        """When a box last died and the job was not the cause, because it later ran well or the host was at fault."""

    def note_result(self, ticket: Ticket) -> None:
        """Note that a job ran well, so it was not the cause of its losses."""
        if ticket.losses:
            self._unblamed_s = max(self._unblamed_s, ticket.losses[-1])

    async def lose(self, ticket: Ticket, error: BoxLostError, engine: Engine, lived_s: float) -> None:
        """Run a job again after its box was lost, or determine the cause.

        Args:
            ticket: The job.
            error: The end of the box.
            engine: The engine of the box.
            lived_s: Seconds from the job's start to the end of the box.
        """
        ticket.losses.append(time.monotonic())
        if error.host_fault:
            self._unblamed_s = ticket.losses[-1]
        given_up = SandboxUnavailableError(f"the job lost {len(ticket.losses)} boxes; the last: {error}")
        if ticket.is_trial:
            ticket.fail(given_up)
        elif len(ticket.losses) < ATTEMPTS:
            _log.info("running a job again: %s", error)
            self._rerun.add(ticket)
            ticket.answer.add_done_callback(lambda _: self._rerun.discard(ticket))
            trial = self._trial(min(lived_s, LONGEST_TRIAL_S))
            ticket.trials.append(trial)
            ticket.answer.add_done_callback(lambda _: trial.answer.cancel())
            # The trial is the first of the two, so that a pool of one box alternates between them.
            await self._put_first(ticket)
            await self._put_first(trial)
        else:
            self._rerun.discard(ticket)
            blaming = asyncio.create_task(self._blame(ticket, given_up, engine))
            self.tasks.add(blaming)
            blaming.add_done_callback(self.tasks.discard)

    def _trial(self, lives_s: float) -> Ticket:
        """Return an idle job for some time. It loses its box only if any job would."""
        limits = Limits(wall_s=lives_s + LONGEST_TRIAL_S)
        trial = self._ticket_of(Program(source=f"import time; time.sleep({lives_s!r})", limits=limits))
        trial.is_trial = True
        # If no caller awaits the answer, asyncio would report an error in it.
        trial.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        return trial

    async def _blame(self, ticket: Ticket, given_up: SandboxUnavailableError, engine: Engine) -> None:
        """Settle a job that lost all its boxes. It is at fault if no other job lost a box meanwhile without fault."""
        try:
            await asyncio.gather(*(trial.answer for trial in ticket.trials))
            if self._rerun:  # one of them may run well, and show that boxes die without a job's fault
                await asyncio.wait([other.answer for other in self._rerun])
        except SandboxUnavailableError:
            ticket.fail(given_up)
            return
        except asyncio.CancelledError:
            ticket.fail(SandboxUnavailableError(CLOSED))
            raise
        if self._unblamed_s >= ticket.losses[0]:
            ticket.fail(given_up)
            return
        _log.warning("%s. Other jobs run well at the same time, so the program is at fault", given_up)
        answer = Answer.killed(Limit.BOX, ticket.request)
        await self._report(ticket, answer, [b""] * len(ticket.request.outputs), engine)
