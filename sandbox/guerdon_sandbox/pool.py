"""The pool: warm boxes on one or several engines, and a queue of jobs before them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from guerdon_sandbox.box import Box, BoxLostError
from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.errors import (
    SandboxImageError,
    SandboxOverloadedError,
    SandboxUnavailableError,
    SandboxUsageError,
)
from guerdon_sandbox.inside.wire import Answer, Limit, Request
from guerdon_sandbox.jobs import Job, Program, Result
from guerdon_sandbox.parsing import LARGE_BYTES

R = TypeVar("R", bound=Result)

ATTEMPTS = 3
"""Boxes that one job may lose before the sandbox gives it up."""
LONGEST_PAUSE_S = 2.0
"""Longest pause before an engine that is down is tried again."""
_CLOSED = "the sandbox was closed"

_log = logging.getLogger(__name__)


class Isolation(StrEnum):
    """What separates one job from the next."""

    FORK = "fork"
    """A box runs many jobs: each in a fresh process with a uid of its own, all traces removed afterwards."""
    CONTAINER = "container"
    """A box runs one job. About fifty times as expensive."""


class Clock(Protocol):
    """A deadline of the caller. It stops while a job is under way, and is charged with what the job itself took."""

    def pause(self) -> None:
        """Stop."""

    def resume(self, spent_s: float = 0.0) -> None:
        """Run again, with so much less time left."""


class _NoClock:
    def pause(self) -> None:
        pass

    def resume(self, spent_s: float = 0.0) -> None:
        pass


@dataclass(slots=True)
class _Ticket:
    job: Job[Any]
    request: Request
    blobs: Sequence[bytes]
    answer: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)
    lost: int = 0
    """Boxes that died under it."""
    trial: bool = False
    """Whether it only shows that jobs run."""
    spent_s: float = 0.0
    """How long it ran, less what it waited for a CPU."""


class Sandbox:
    """Runs jobs in warm boxes. An async context manager; opens itself at the first job otherwise.

    All its methods belong to one event loop.
    """

    def __init__(
        self,
        engines: Sequence[str] = (),
        options: BoxOptions | None = None,
        *,
        boxes: int | None = None,
        isolation: Isolation | str = Isolation.FORK,
        patience_s: float = 60.0,
        clock: Callable[[], Clock] = _NoClock,
    ) -> None:
        """Remember the options; nothing is started.

        Args:
            engines: Addresses of Docker engines; without any, the one that ``DOCKER_HOST`` names, or the local one.
            options: What each box is made of.
            boxes: Boxes per engine: jobs that run there at one time. By default the engine's cores, divided among the
                training processes of this machine (torchrun's ``LOCAL_WORLD_SIZE``), each of which has a pool.
            isolation: What separates one job from the next.
            patience_s: How long jobs wait while no engine is usable, so that a restart of the engine costs none; and
                how long a job may wait for a CPU that other work has.
            clock: Gives the deadline of the code that calls `run`: waiting for a box or a CPU does not count for it.

        Raises:
            SandboxUsageError: An option cannot be right.
        """
        if boxes is not None and boxes < 1:
            raise SandboxUsageError(f"boxes is {boxes}; it must be at least 1")
        if isolation not in list(Isolation):
            raise SandboxUsageError(f"isolation is {isolation!r}; valid: {', '.join(Isolation)}")
        self.engines = [Engine(address) for address in engines or (None,)]
        self.options = options or BoxOptions()
        self.isolation = Isolation(isolation)
        self.boxes_started = 0
        """Boxes made so far: beyond the pool's size, each replaced one."""
        self._boxes_per_engine = boxes
        self._patience_s = patience_s
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leftovers: set[tuple[Engine, str]] = set()
        """Boxes that could not be removed because their engine did not answer."""
        self._forget()

    def _forget(self) -> None:
        """Be as new, for the event loop that comes."""
        self._tickets: deque[_Ticket] = deque()
        self._changed = asyncio.Condition()
        self._decoding = asyncio.Lock()
        """One large reply is decoded at a time, so that they do not add up in memory."""
        self._down: dict[str, SandboxUnavailableError] = {}
        """Why an engine is not usable, by its address."""
        self._opening: asyncio.Task[None] | None = None
        self._starting: list[asyncio.Task[None]] = []
        """For each engine, what waits until it is usable."""
        self._slots: list[asyncio.Task[None]] = []
        """For each box, what runs jobs in it."""
        self._trials: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Wait until one engine is usable, and start making boxes. Does nothing if the sandbox is open.

        Raises:
            SandboxUnavailableError: No engine is usable.
            SandboxImageError: The engines answer and lack the image.
            SandboxUsageError: The sandbox is open in another event loop.
        """
        self._enter_loop()
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        opening = self._opening
        try:
            await asyncio.shield(opening)
        except SandboxUnavailableError:
            if self._opening is opening:
                await self.aclose()
            raise
        except asyncio.CancelledError:
            if opening.cancelled():
                raise SandboxUnavailableError(_CLOSED) from None
            raise

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed() and self._opening is not None:
            raise SandboxUsageError(
                "the sandbox is open in another event loop; make one for each loop, or use SyncSandbox from threads"
            )
        self._forget()
        self._loop = loop

    async def _open(self) -> None:
        """Return when the first engine is usable; the others are brought up meanwhile."""
        usable = [asyncio.get_running_loop().create_future() for _ in self.engines]
        self._starting = [
            asyncio.create_task(self._bring_up(engine, first_try))
            for engine, first_try in zip(self.engines, usable, strict=True)
        ]
        for first_try in asyncio.as_completed(usable):
            if await first_try:
                return
        raise self._outage()

    async def _bring_up(self, engine: Engine, first_try: asyncio.Future[bool]) -> None:
        """Start an engine's slots as soon as it is usable."""
        pause = 0.05
        while True:
            try:
                cores = await asyncio.to_thread(self._prepare, engine)
                break
            except SandboxUnavailableError as error:
                self._note_down(engine, error)
                if not first_try.done():
                    first_try.set_result(False)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._down.pop(engine.address, None)
        for _ in range(self._boxes_per_engine or max(1, cores // _processes_here())):
            self._slots.append(asyncio.create_task(self._serve(engine)))
        if not first_try.done():
            first_try.set_result(True)

    def _prepare(self, engine: Engine) -> int:
        """Make sure that an engine is usable, remove what crashed owners left there, and give its cores."""
        engine.check(self.options)
        engine.reap()
        return int(engine.info()["NCPU"])

    async def run(self, job: Job[R]) -> R:
        """Run a job and give its result. Any number of calls may be under way; a call that is cancelled frees its box.

        Raises:
            SandboxUsageError: The job's inputs or limits do not fit into a box.
            SandboxUnavailableError: No engine is usable, or the job lost one box after the other.
            SandboxOverloadedError: Other work kept the CPU from the job for longer than ``patience_s``.
        """
        ticket, clock = self._ticket(job), self._clock()
        clock.pause()
        try:
            await self.open()
            await self._queue(ticket, self._tickets.append)
            result: R = await ticket.answer
        finally:
            ticket.answer.cancel()  # if the call was cancelled before it waited for the answer
            clock.resume(ticket.spent_s)
        return result

    def _ticket(self, job: Job[Any]) -> _Ticket:
        request, blobs = job.request()
        self.options.check(request, blobs)
        request = request._replace(patience_s=self._patience_s)
        return _Ticket(job, request, blobs, asyncio.get_running_loop().create_future())

    async def _queue(self, ticket: _Ticket, put: Callable[[_Ticket], None]) -> None:
        async with self._changed:
            put(ticket)
            self._changed.notify()

    async def aclose(self) -> None:
        """End all boxes. Jobs that have no result yet raise SandboxUnavailableError. A later job opens it again."""
        if self._loop is not asyncio.get_running_loop():
            return  # its tasks, and with them its boxes, ended with the loop that it was open in
        opening = [self._opening] if self._opening is not None else []
        tasks = [*opening, *self._starting, *self._slots, *self._trials]
        self._opening, self._starting, self._slots = None, [], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for ticket in self._tickets:
            _settle(ticket, SandboxUnavailableError(_CLOSED))
        self._tickets.clear()
        for engine, name in self._leftovers:
            await asyncio.to_thread(engine.remove, name)
        self._leftovers.clear()

    async def _serve(self, engine: Engine) -> None:
        """One slot of an engine: keep a box warm, run one job after the other in it, replace it when in doubt."""
        pause = 0.05
        while True:
            try:
                box = await Box.start(engine, self.options)
            except (SandboxUnavailableError, BoxLostError) as error:
                self._note_down(engine, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            pause = 0.05
            self._down.pop(engine.address, None)
            self.boxes_started += 1
            try:
                await self._clear_leftovers(engine)
                await self._use(box)
            finally:
                if not await asyncio.shield(box.close()):
                    self._leftovers.add((engine, box.name))

    async def _use(self, box: Box) -> None:
        """Run jobs in a box until it is lost, dirty, or used up."""
        while True:
            ticket = await self._next()
            ticket.answer.add_done_callback(lambda answer: box.abort() if answer.cancelled() else None)
            try:
                answer, blobs = await box.run(ticket.request, ticket.blobs)
                await self._report(ticket, answer, blobs, box.engine)
            except BoxLostError as error:
                await self._lose(ticket, error, box.engine)
                return
            except asyncio.CancelledError:
                _settle(ticket, SandboxUnavailableError(_CLOSED))
                raise
            if answer.dirty:
                _log.info("replacing a box on %s: %s", box.engine.address, answer.dirty)
            if answer.dirty or self.isolation is Isolation.CONTAINER:
                return

    async def _next(self) -> _Ticket:
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._tickets)
                ticket = self._tickets.popleft()
                if not ticket.answer.done():
                    return ticket

    async def _report(self, ticket: _Ticket, answer: Answer, blobs: Sequence[bytes], engine: Engine) -> None:
        """Give the caller the result. The bytes may be anything, so reading many of them must not stop the loop."""
        if ticket.answer.done():
            return
        ticket.spent_s = max(answer.wall_s - answer.waited_s, 0.0)
        if answer.limit is Limit.STARVED:
            waited, wall = f"{answer.waited_s:.0f}", f"{answer.wall_s:.0f}"
            overloaded = SandboxOverloadedError(
                f"a program waited {waited} of {wall} s for a CPU, which other work on {engine.address} had. "
                "Run less there at one time: lower boxes, or add an engine"
            )
            _settle(ticket, overloaded)
            return
        try:
            if sum(map(len, blobs[2:])) <= LARGE_BYTES:
                result = ticket.job.result(answer, blobs, engine.address)
            else:
                async with self._decoding:
                    result = await asyncio.to_thread(ticket.job.result, answer, blobs, engine.address)
        except Exception as error:  # the caller's to hear, and not the box's fault
            _settle(ticket, error)
            return
        if not ticket.answer.done():
            ticket.answer.set_result(result)

    async def _lose(self, ticket: _Ticket, error: BoxLostError, engine: Engine) -> None:
        """Run a job again whose box was lost, or find out whose fault that is."""
        ticket.lost += 1
        if ticket.lost < ATTEMPTS:
            _log.info("running a job again: %s", error)
            await self._queue(ticket, self._tickets.appendleft)
            return
        given_up = SandboxUnavailableError(f"the job lost {ATTEMPTS} boxes; the last: {error}")
        if ticket.trial:
            _settle(ticket, given_up)
            return
        trial = asyncio.create_task(self._blame(ticket, given_up, engine))
        self._trials.add(trial)
        trial.add_done_callback(self._trials.discard)

    async def _blame(self, ticket: _Ticket, given_up: SandboxUnavailableError, engine: Engine) -> None:
        """Settle a job that lost all its boxes. It is at fault if another one runs well now."""
        trial = self._ticket(Program(source=""))
        trial.trial = True
        await self._queue(trial, self._tickets.appendleft)
        try:
            await trial.answer
        except SandboxUnavailableError:
            _settle(ticket, given_up)
            return
        except asyncio.CancelledError:
            _settle(ticket, SandboxUnavailableError(_CLOSED))
            raise
        _log.warning("%s. Another job runs well, so the program is at fault", given_up)
        answer = Answer.killed(Limit.BOX, ticket.request)
        await self._report(ticket, answer, [b""] * len(ticket.request.outputs), engine)

    def _note_down(self, engine: Engine, error: SandboxUnavailableError | BoxLostError) -> None:
        if engine.address not in self._down:
            _log.warning("%s", error)
        if isinstance(error, BoxLostError):
            error = SandboxUnavailableError(str(error))
        self._down[engine.address] = error
        if len(self._down) < len(self.engines):
            return
        outage, now = self._outage(), time.monotonic()
        # What is missing does not come back by itself, as an engine does that restarts.
        patience_s = 0.0 if isinstance(outage, SandboxImageError) else self._patience_s
        while self._tickets and now - self._tickets[0].since > patience_s:
            _settle(self._tickets.popleft(), outage)

    def _outage(self) -> SandboxUnavailableError:
        """Why no engine is usable."""
        errors = list(self._down.values())
        kind = (
            SandboxImageError
            if all(isinstance(one, SandboxImageError) for one in errors)
            else SandboxUnavailableError
        )
        return kind("; ".join(map(str, errors)))

    async def _clear_leftovers(self, engine: Engine) -> None:
        for item in [item for item in self._leftovers if item[0] is engine]:
            if await asyncio.to_thread(engine.remove, item[1]):
                self._leftovers.discard(item)


def _processes_here() -> int:
    """Training processes on this machine, as torchrun counts them."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdecimal() else 1


def _settle(ticket: _Ticket, error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        ticket.answer.set_exception(error)
