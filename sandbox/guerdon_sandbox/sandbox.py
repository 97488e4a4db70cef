"""The pool: warm boxes on one or several engines, and a queue of jobs before them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

from guerdon_sandbox.box import Box, BoxLostError
from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.errors import SandboxOverloadedError, SandboxUnavailableError, SandboxUsageError
from guerdon_sandbox.jobs import Job

R = TypeVar("R")

ATTEMPTS = 3
"""Boxes that one job may lose before the sandbox gives it up."""
LONGEST_PAUSE_S = 2.0
"""Longest pause before an engine that is down is tried again."""

_log = logging.getLogger(__name__)


class Isolation(StrEnum):
    """What separates one job from the next."""

    FORK = "fork"
    """A box runs many jobs: each in a fresh process with a uid of its own, all traces removed afterwards."""
    CONTAINER = "container"
    """A box runs one job. About fifty times as expensive."""


@dataclass(slots=True)
class _Ticket:
    job: Job[Any]
    answer: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)
    lost: int = 0


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
        self._tickets: deque[_Ticket] = deque()
        self._changed = asyncio.Condition()
        self._down: dict[str, str] = {}
        """Why an engine is not usable, by its address."""
        self._leftovers: set[tuple[Engine, str]] = set()
        """Boxes that could not be removed because their engine did not answer."""
        self._opening: asyncio.Task[None] | None = None
        self._slots: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Check the engines and start making boxes. Does nothing if the sandbox is open.

        Raises:
            SandboxUnavailableError: No engine is usable.
            SandboxImageError: The engines answer and lack the image.
        """
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        try:
            await asyncio.shield(self._opening)
        except SandboxUnavailableError:
            self._opening = None
            raise

    async def _open(self) -> None:
        prepared = [asyncio.to_thread(self._prepare, engine) for engine in self.engines]
        outcomes = await asyncio.gather(*prepared, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if len(failures) == len(self.engines):
            raise failures[0]
        for engine, outcome in zip(self.engines, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._down[engine.address] = str(outcome)
                _log.warning("%s", outcome)
            cores = os.cpu_count() or 1 if isinstance(outcome, BaseException) else outcome
            for _ in range(self._boxes_per_engine or max(1, cores // _processes_here())):
                self._slots.append(asyncio.create_task(self._serve(engine)))

    def _prepare(self, engine: Engine) -> int:
        """Make sure that an engine is usable, remove what crashed owners left there, and give its cores."""
        engine.check(self.options)
        engine.reap()
        return int(engine.info()["NCPU"])

    async def run(self, job: Job[R]) -> R:
        """Run a job and give its result. Any number of calls may be under way.

        Raises:
            SandboxUnavailableError: No engine is usable, or the job lost one box after the other.
            SandboxOverloadedError: Other work kept the CPU from the job for longer than ``patience_s``.
        """
        await self.open()
        ticket = _Ticket(job, asyncio.get_running_loop().create_future())
        async with self._changed:
            self._tickets.append(ticket)
            self._changed.notify()
        result: R = await ticket.answer
        return result

    async def aclose(self) -> None:
        """End all boxes. Jobs that have no result yet raise SandboxUnavailableError."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        for ticket in self._tickets:
            _refuse(ticket, "the sandbox was closed")
        for engine, name in self._leftovers:
            await asyncio.to_thread(engine.remove, name)
        self._slots, self._opening = [], None
        self._tickets.clear()
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
            try:
                result, dirty = await box.run(ticket.job, self._patience_s)
            except BoxLostError as error:
                await self._put_back(ticket, error)
                return
            except asyncio.CancelledError:
                _refuse(ticket, "the sandbox was closed")
                raise
            except Exception as error:  # a job that cannot be encoded is its caller's mistake, not the box's
                _settle(ticket, error)
                return
            if isinstance(result, SandboxOverloadedError):
                _settle(ticket, result)
            elif not ticket.answer.done():
                ticket.answer.set_result(result)
            if dirty:
                _log.info("replacing a box on %s: %s", box.engine.address, dirty)
            if dirty or self.isolation is Isolation.CONTAINER:
                return

    async def _next(self) -> _Ticket:
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._tickets)
                ticket = self._tickets.popleft()
                if not ticket.answer.done():
                    return ticket

    async def _put_back(self, ticket: _Ticket, error: BoxLostError) -> None:
        ticket.lost += 1
        if ticket.lost >= ATTEMPTS:
            _refuse(ticket, f"the job lost {ATTEMPTS} boxes; the last: {error}")
            return
        _log.info("running a job again: %s", error)
        async with self._changed:
            self._tickets.appendleft(ticket)
            self._changed.notify()

    def _note_down(self, engine: Engine, error: Exception) -> None:
        if engine.address not in self._down:
            _log.warning("%s", error)
        self._down[engine.address] = str(error)
        if len(self._down) < len(self.engines):
            return
        now = time.monotonic()
        while self._tickets and now - self._tickets[0].since > self._patience_s:
            _refuse(self._tickets.popleft(), "; ".join(self._down.values()))

    async def _clear_leftovers(self, engine: Engine) -> None:
        for item in [item for item in self._leftovers if item[0] is engine]:
            if await asyncio.to_thread(engine.remove, item[1]):
                self._leftovers.discard(item)


def _processes_here() -> int:
    """Training processes on this machine, as torchrun counts them."""
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(told)) if told.isdecimal() else 1


def _refuse(ticket: _Ticket, why: str) -> None:
    _settle(ticket, SandboxUnavailableError(why))


def _settle(ticket: _Ticket, error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        ticket.answer.set_exception(error)
