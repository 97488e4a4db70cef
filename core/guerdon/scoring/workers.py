"""The engine's side of the worker processes: starts them, hands them work, kills the late ones, replaces the dead.

Workers are new interpreters, never forks: a fork of a process with threads, a GPU or locks may deadlock. Deadlines are
kept by this side with SIGKILL, so they hold for code that never returns to the interpreter, and in any thread.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from guerdon.component import Component
from guerdon.errors import PluginLoadError
from guerdon.scoring.protocol import (
    BuildFailed,
    Built,
    Case,
    Hello,
    Rewarded,
    RewardTask,
    Scored,
    VerifyTask,
)
from guerdon.types import Failure, Score

BUILD_TIMEOUT_S = 120.0
"""How long importing and building a plugin may take; not counted against its verifiers' deadlines."""

CONCURRENT_GRACE_S = 5.0
"""How much longer than its timeout an async verifier may be silent: it keeps its calls' deadlines itself."""

CLOSE_TIMEOUT_S = 10.0
"""How long a worker may take to give back what it holds, before it is killed."""


@dataclass(slots=True)
class VerifyJob:
    """Cases for one verifier; fills ``results`` in the order of the cases."""

    component: int
    cases: Sequence[Case]
    timeout_s: float
    dedicated: bool = False
    """Whether the component has a worker of its own: an async verifier, whose calls all run there at once."""
    results: list[tuple[Score, float] | None] = field(default_factory=list)
    """Score and latency in milliseconds."""
    _sent: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.cases)

    def task(self) -> VerifyTask:
        self._sent = [index for index, result in enumerate(self.results) if result is None]
        return VerifyTask(self.component, [self.cases[index] for index in self._sent], self.timeout_s)

    def receive(self, message: Scored | Rewarded) -> bool:
        """Take an answer in; whether the job is done."""
        assert isinstance(message, Scored)
        self.results[self._sent[message.index]] = message.score, message.latency_ms
        return all(result is not None for result in self.results)

    def lose(self, score: Score, latency_ms: float, concurrent: bool) -> bool:
        """Account for a worker that was lost: whatever it was judging gets ``score``; whether the job is done."""
        unfinished = [index for index, result in enumerate(self.results) if result is None]
        for index in unfinished if concurrent else unfinished[:1]:
            self.results[index] = score, latency_ms
        return concurrent or len(unfinished) <= 1


@dataclass(slots=True)
class RewardJob:
    """A batch for one reward function."""

    component: int
    batch: RewardTask
    timeout_s: float
    dedicated: bool = True
    answer: Rewarded | None = None

    def task(self) -> RewardTask:
        return self.batch

    def receive(self, message: Scored | Rewarded) -> bool:
        assert isinstance(message, Rewarded)
        self.answer = message
        return True

    def lose(self, score: Score, latency_ms: float, concurrent: bool) -> bool:
        self.answer = Rewarded([score] * len(self.batch.completions), latency_ms, {}, {})
        return True


Job = VerifyJob | RewardJob


class WorkerPool:
    """Worker processes for the components of one rubric. Usable from any thread; jobs of two threads take turns.

    Args:
        components: What the workers may be told to run; jobs name them by index.
        shared_workers: How many workers share the sync verifiers; by default one per usable CPU, at most 16.
    """

    def __init__(self, components: Sequence[Component], shared_workers: int | None = None) -> None:
        self._components = list(components)
        self.shared_workers = shared_workers or min(len(os.sched_getaffinity(0)), 16)
        self._idle: dict[int | None, list[_Worker]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def run(self, jobs: Iterable[Job]) -> None:
        """Do the jobs; afterwards each holds a result for everything it asked.

        Raises:
            PluginLoadError, ParamsError, PluginContractError: A component cannot be built.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the worker pool is closed")
            waiting: dict[int | None, deque[Job]] = {}
            for job in jobs:
                waiting.setdefault(job.component if job.dedicated else None, deque()).append(job)
            busy: dict[Connection, _Running] = {}
            try:
                while busy or any(waiting.values()):
                    self._hand_out(waiting, busy)
                    self._take_in(waiting, busy)
            finally:  # on an error, whatever is under way is of no more use
                for running in busy.values():
                    running.worker.kill()

    def close(self) -> None:
        """End the workers; those that hold something outside give it back first."""
        with self._lock:
            self._closed = True
            workers = [worker for idle in self._idle.values() for worker in idle]
            self._idle.clear()
            for worker in workers:
                worker.connection.close()
            for worker in workers:
                worker.close()

    def _hand_out(self, waiting: dict[int | None, deque[Job]], busy: dict[Connection, _Running]) -> None:
        for lane, queue in waiting.items():
            limit = self.shared_workers if lane is None else 1
            while queue and sum(running.lane == lane for running in busy.values()) < limit:
                worker = self._idle_worker(lane) or _Worker(self._components)
                job = queue.popleft()
                running = _Running(worker, lane, job, deadline=time.monotonic() + BUILD_TIMEOUT_S)
                busy[worker.connection] = running
                try:
                    worker.connection.send(job.task())
                except (BrokenPipeError, ConnectionResetError):
                    continue  # the worker died while idle; reading from it says so

    def _idle_worker(self, lane: int | None) -> _Worker | None:
        idle = self._idle.setdefault(lane, [])
        while idle:
            worker = idle.pop()
            if worker.alive():
                return worker
            worker.kill()  # it died while it had nothing to do, and its children may live
        return None

    def _take_in(self, waiting: dict[int | None, deque[Job]], busy: dict[Connection, _Running]) -> None:
        first_deadline = min(running.deadline for running in busy.values())
        ready = wait(list(busy), timeout=max(0.0, first_deadline - time.monotonic()))
        for connection in ready:
            assert isinstance(connection, Connection)
            running = busy[connection]
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                del busy[connection]
                self._lost(running, waiting, Failure.VERIFIER, running.worker.obituary())
                continue
            if isinstance(message, BuildFailed):
                raise message.error
            if isinstance(message, Built):
                running.start(message.concurrent)
            elif running.job.receive(message):
                del busy[connection]
                self._idle.setdefault(running.lane, []).append(running.worker)
            else:
                running.restart_clock()
        now = time.monotonic()
        for connection, running in list(busy.items()):
            if running.deadline <= now and connection not in ready:
                del busy[connection]
                running.worker.kill()
                self._lost(
                    running, waiting, Failure.TIMEOUT, f"no verdict within {running.job.timeout_s:g} s"
                )

    def _lost(
        self, running: _Running, waiting: dict[int | None, deque[Job]], failure: Failure, reason: str
    ) -> None:
        if not running.built:
            plugin = self._components[running.job.component].plugin
            late = failure is Failure.TIMEOUT
            why = f"building it took more than {BUILD_TIMEOUT_S:g} s" if late else reason
            raise PluginLoadError(f"{plugin} cannot be built: {why}. Import it by hand to see what it does.")
        latency_ms = (time.monotonic() - running.clock) * 1000
        if not running.job.lose(Score.failed(failure, reason), latency_ms, running.concurrent):
            waiting[running.lane].appendleft(running.job)


@dataclass(slots=True)
class _Running:
    """A job at a worker."""

    worker: _Worker
    lane: int | None
    """The component that the worker is dedicated to; ``None`` for the shared ones."""
    job: Job
    deadline: float
    """On the monotonic clock."""
    built: bool = False
    concurrent: bool = False
    clock: float = math.nan
    """When the case under way began, on the monotonic clock."""

    def start(self, concurrent: bool) -> None:
        self.built = True
        self.concurrent = concurrent
        self.restart_clock()

    def restart_clock(self) -> None:
        self.clock = time.monotonic()
        self.deadline = self.clock + self.job.timeout_s + (CONCURRENT_GRACE_S if self.concurrent else 0.0)


class _Worker:
    """One worker process. It dies with this one, however this one dies."""

    def __init__(self, components: Sequence[Component]) -> None:
        ours, theirs = socket.socketpair()
        lifeline_ours, lifeline_theirs = socket.socketpair()
        with theirs, lifeline_theirs:
            descriptors = theirs.fileno(), lifeline_theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "guerdon.scoring.worker", *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a plugin's own children can be killed with it
            )
        self._lifeline = lifeline_ours
        self.connection = Connection(ours.detach())
        try:
            self.connection.send(Hello(list(sys.path), components))
        except (BrokenPipeError, ConnectionResetError):
            return  # it died at birth; reading from it says so

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()
        self._reap()

    def close(self) -> None:
        """Wait for a process whose connection is closed, and kill it if it takes too long."""
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def obituary(self) -> str:
        """How a process whose connection has ended died."""
        try:
            status = self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # it closed its end and lives on
            self.kill()
            return "the worker process closed its connection and was killed"
        self.kill()
        if status < 0:
            return f"the worker process was killed by {signal.Signals(-status).name}"
        return f"the worker process ended with exit status {status}"

    def _reap(self) -> None:
        self._process.wait()
        self.connection.close()
        self._lifeline.close()
