"""The pool: warm boxes on one or several engines, and a queue of jobs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

from guerdon_sandbox.box import Box, BoxLostError
from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.errors import (
    SandboxImageError,
    SandboxOverloadedError,
    SandboxUnavailableError,
    SandboxUsageError,
)
from guerdon_sandbox.inside.wire import Answer, Limit
from guerdon_sandbox.jobs import Job
from guerdon_sandbox.losses import Losses
from guerdon_sandbox.parsing import LARGE_BYTES
from guerdon_sandbox.results import Result
from guerdon_sandbox.tickets import CLOSED, Clock, NoClock, Ticket

R = TypeVar("R", bound=Result)

LONGEST_PAUSE_S = 2.0
"""The longest pause in seconds before the next attempt on an engine that is down."""

_log = logging.getLogger(__name__)


class Isolation(StrEnum):
    """The isolation between jobs."""

    FORK = "fork"
    """A box runs many jobs, each in a fresh process with its own uid. All traces are removed afterwards."""
    CONTAINER = "container"
    """A box runs one job. About fifty times as expensive."""


class Sandbox:
    """Runs jobs in warm boxes. An async context manager; without ``async with``, it opens itself at the first job.

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
        clock: Callable[[], Clock] = NoClock,
    ) -> None:
        """Store the options without starting anything.

        Args:
            engines: Addresses of Docker engines; without any, the one that ``DOCKER_HOST`` names, or the local one.
            options: The settings of each box.
            boxes: Boxes per engine, which is the number of concurrent jobs there. By default the engine's cores,
                divided among the training processes of this machine (torchrun's ``LOCAL_WORLD_SIZE``), each of which
                has a pool, and one more.
            isolation: The isolation between jobs.
            patience_s: Seconds that jobs wait while no engine is usable, so that a restart of the engine fails none.
                Also the seconds that a job may wait for a CPU.
            clock: Returns the deadline of the code that calls `run`. Waiting for a box or a CPU does not count against
                it.

        Raises:
            SandboxUsageError: An option is invalid.
        """
        if boxes is not None and boxes < 1:
            raise SandboxUsageError(f"boxes is {boxes}; it must be at least 1")
        if isolation not in list(Isolation):
            raise SandboxUsageError(f"isolation is {isolation!r}; valid: {', '.join(Isolation)}")
        self.engines = [Engine(address) for address in engines or (None,)]
        self.options = options or BoxOptions()
        self.isolation = Isolation(isolation)
        self.boxes_started = 0
        """The number of boxes started so far. Those beyond the pool's size each replaced one."""
        self._boxes_per_engine = boxes
        self._patience_s = patience_s
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leftovers: set[tuple[Engine, str]] = set()
        """Boxes that are not known to be removed, as when their engine did not answer."""
        self._forget()

    def _forget(self) -> None:
        """Reset all state for a new event loop."""
        self._tickets: deque[Ticket] = deque()
        self._changed = asyncio.Condition()
        self._decoding = asyncio.Lock()
        """Only one large reply is decoded at a time, to limit memory."""
        self._down: dict[str, SandboxUnavailableError] = {}
        """Why an engine is not usable, by its address."""
        self._opening: asyncio.Task[None] | None = None
        self._starting: list[asyncio.Task[None]] = []
        """For each engine, the task that waits until it is usable."""
        self._slots: list[asyncio.Task[None]] = []
        """For each box, the task that runs jobs in it."""
        self._losses = Losses(self._ticket, self._queue_first, self._report)

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
                raise SandboxUnavailableError(CLOSED) from None
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
        """Return when the first engine is usable. The others are prepared meanwhile."""
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
        # One more, because a box whose answer this process reads leaves its core to another.
        for _ in range(self._boxes_per_engine or max(1, cores // _processes_here()) + 1):
            self._slots.append(asyncio.create_task(self._serve(engine)))
        if not first_try.done():
            first_try.set_result(True)

    def _prepare(self, engine: Engine) -> int:
        """Check that an engine is usable, remove boxes of crashed owners, and return its number of cores."""
        engine.check(self.options)
        engine.reap()
        return int(engine.info()["NCPU"])

    async def run(self, job: Job[R]) -> R:
        """Run a job and return its result. Any number of calls may be active. A cancelled call frees its box.

        Raises:
            SandboxUsageError: The job's inputs or limits do not fit into a box.
            SandboxUnavailableError: No engine is usable, or the job lost several boxes.
            SandboxOverloadedError: Other work kept the CPU from the job for longer than ``patience_s``.
        """
        ticket, clock = self._ticket(job), self._clock()
        clock.pause()
        try:
            await self.open()
            async with self._changed:
                self._tickets.append(ticket)
                self._changed.notify()
            result: R = await ticket.answer
        finally:
            ticket.answer.cancel()  # if the call was cancelled before it waited for the answer
            clock.resume(ticket.spent_s)
        return result

    def _ticket(self, job: Job[Any]) -> Ticket:
        request, blobs = job.request()
        self.options.check(request, blobs)
        request = request._replace(patience_s=self._patience_s)
        return Ticket(job, request, blobs, asyncio.get_running_loop().create_future())

    async def _queue_first(self, ticket: Ticket) -> None:
        async with self._changed:
            self._tickets.appendleft(ticket)
            self._changed.notify()

    async def aclose(self) -> None:
        """End all boxes. Unfinished jobs raise SandboxUnavailableError. A later job opens the sandbox again."""
        if self._loop is not asyncio.get_running_loop():
            return  # its tasks and boxes ended with the event loop that it was open in
        opening = [self._opening] if self._opening is not None else []
        tasks = [*opening, *self._starting, *self._slots, *self._losses.tasks]
        self._opening, self._starting, self._slots = None, [], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for ticket in self._tickets:
            ticket.fail(SandboxUnavailableError(CLOSED))
        self._tickets.clear()
        for engine in self.engines:
            await self._clear_leftovers(engine)
        self._leftovers.clear()

    async def _serve(self, engine: Engine) -> None:
        """Run one slot of an engine: keep a box warm, run jobs in it one by one, and replace it when in doubt."""
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
                removed = False
                try:
                    removed = await box.close()
                finally:
                    if not removed:
                        self._leftovers.add((engine, box.name))

    async def _use(self, box: Box) -> None:
        """Run jobs in a box until it is lost, dirty, or used up."""
        while True:
            ticket = await self._next()
            ticket.answer.add_done_callback(lambda answer: box.abort() if answer.cancelled() else None)
            started = time.monotonic()
            try:
                answer, blobs = await box.run(ticket.request, ticket.blobs)
                await self._report(ticket, answer, blobs, box.engine)
            except BoxLostError as error:
                await self._losses.lose(ticket, error, box.engine, time.monotonic() - started)
                return
            except asyncio.CancelledError:
                ticket.fail(SandboxUnavailableError(CLOSED))
                raise
            if answer.dirty:
                _log.info("replacing a box on %s: %s", box.engine.address, answer.dirty)
            if answer.dirty or self.isolation is Isolation.CONTAINER:
                return

    async def _next(self) -> Ticket:
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._tickets)
                ticket = self._tickets.popleft()
                if not ticket.answer.done():
                    return ticket

    async def _report(self, ticket: Ticket, answer: Answer, blobs: Sequence[bytes], engine: Engine) -> None:
        """Return the result to the caller. Decoding many untrusted bytes must not block the event loop."""
        if ticket.answer.done():
            return
        if answer.limit is not Limit.BOX:
            self._losses.note_result(ticket)
        ticket.spent_s = max(answer.wall_s - answer.waited_s, 0.0)
        if answer.limit is Limit.STARVED:
            waited, wall = f"{answer.waited_s:.0f}", f"{answer.wall_s:.0f}"
            overloaded = SandboxOverloadedError(
                f"a program waited {waited} of {wall} s for a CPU, which other work on {engine.address} had. "
                "Run less there at one time: lower boxes, or add an engine"
            )
            ticket.fail(overloaded)
            return
        try:
            if sum(map(len, blobs[2:])) <= LARGE_BYTES:
                result = ticket.job.result(answer, blobs, engine.address)
            else:
                async with self._decoding:
                    result = await asyncio.to_thread(ticket.job.result, answer, blobs, engine.address)
        except Exception as error:  # the caller's error, not the box's
            ticket.fail(error)
            return
        if not ticket.answer.done():
            ticket.answer.set_result(result)

    def _note_down(self, engine: Engine, error: SandboxUnavailableError | BoxLostError) -> None:
        only = len(self.engines) == 1 and not self._slots  # then opening the sandbox raises this error
        if engine.address not in self._down and not only:
            _log.warning("%s", error)
        if isinstance(error, BoxLostError):
            error = SandboxUnavailableError(str(error))
        self._down[engine.address] = error
        if len(self._down) < len(self.engines):
            return
        outage, now = self._outage(), time.monotonic()
        # A missing image does not reappear by itself, but an engine may restart.
        patience_s = 0.0 if isinstance(outage, SandboxImageError) else self._patience_s
        while self._tickets and now - self._tickets[0].since > patience_s:
            self._tickets.popleft().fail(outage)

    def _outage(self) -> SandboxUnavailableError:
        """Return why no engine is usable."""
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
    """Return the number of training processes on this machine, as torchrun counts them."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdecimal() else 1
