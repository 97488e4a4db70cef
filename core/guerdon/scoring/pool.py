"""The engine's side of the worker processes: starts them, sends them jobs, kills late ones and replaces dead ones.

Workers are new interpreters, never forks: a fork of a process with threads, a GPU or locks may deadlock. This side
enforces deadlines with SIGKILL, so they also apply to code that never returns to the interpreter.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from guerdon.errors import PluginLoadError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.scoring import worker_process
from guerdon.scoring.jobs import Job, RewardJob, VerifyJob
from guerdon.scoring.protocol import (
    BuildFailed,
    Built,
    Hello,
    RewardTask,
    SettingUp,
    VerifyTask,
    Waiting,
    Warned,
)
from guerdon.types import Failure, Score

logger = logging.getLogger(__name__)

__all__ = [
    "BUILD_TIMEOUT_S",
    "MOST_LOST_BUILDS",
    "Job",
    "Pool",
    "RewardJob",
    "VerifyJob",
    "WorkerPool",
    "default_workers",
]

BUILD_TIMEOUT_S = 120.0
"""Seconds for importing and building a plugin; not counted against its verifiers' deadlines."""

BEGIN_TIMEOUT_S = 10.0
"""Seconds for a worker to begin with a component that it has already built.

A thread of an earlier case may hold the interpreter's lock.
"""

CONCURRENT_GRACE_S = 5.0
"""Seconds that an async verifier may be silent after its timeout, because it enforces its calls' deadlines itself."""

BUFFERED_BYTES = 64 * 1024
"""A task up to this size fits into the socket's buffer, even if the worker does not read."""

MOST_LOST_BUILDS = 3
"""Fresh workers in a row that may die while they build one plugin. Something else may have killed the first ones."""

CLOSING_S = 0.5
"""The longest time after which a running call notices that the pool is closed."""

CLOSE_TIMEOUT_S = 10.0
"""Seconds for a worker to release its resources before it is killed."""


def default_workers() -> int:
    """Return how many workers share the sync verifiers by default: one for each usable CPU, at most 16."""
    return min(len(os.sched_getaffinity(0)), 16)


class Pool(Protocol):
    """Workers for the components of one rubric, on this machine or on many."""

    @property
    def shared_workers(self) -> int:
        """Return how many workers share the sync verifiers."""

    def lane_workers(self, component: int) -> int:
        """Return how many workers a dedicated component has."""

    def run(self, jobs: Iterable[Job]) -> None:
        """Run the jobs. Afterwards each job holds all its results."""

    def close(self) -> None:
        """Stop the workers."""


class WorkerPool:
    """Worker processes for the components of one rubric. Usable from any thread; jobs of two threads take turns.

    If one thread closes the pool, the jobs of another end with a ``ValueError``.

    Args:
        components: The components that the workers can run; jobs refer to them by index.
        shared_workers: How many workers share the sync verifiers; by default :func:`default_workers`.
    """

    def __init__(self, components: Sequence[Component], shared_workers: int | None = None) -> None:
        self._components = list(components)
        self.shared_workers = shared_workers or default_workers()
        self._limits: dict[int, int] = {
            index: component.member("max_workers", 1)
            for index, component in enumerate(components)
            if component.kind in (Kind.VERIFIER, Kind.GROUP_REWARD)
        }
        self._idle: dict[int | None, list[_Worker]] = {}
        self._lost_builds: Counter[int] = Counter()
        """For each component, how many fresh workers died in a row while they built it."""
        self._lock = threading.Lock()
        self._closed = False

    def lane_workers(self, component: int) -> int:
        """Return how many workers a dedicated component has: its own limit, else one."""
        return self._limits.get(component, 1)

    def run(self, jobs: Iterable[Job]) -> None:
        """Run the jobs. Afterwards each job holds all its results.

        Raises:
            PluginLoadError, ParamsError, PluginContractError: A component cannot be built.
        """
        with self._lock:
            self._check_open()
            waiting: dict[int | None, deque[Job]] = {}
            for job in jobs:
                waiting.setdefault(job.component if job.dedicated else None, deque()).append(job)
            busy: dict[Connection, _Running] = {}
            try:
                while busy or any(waiting.values()):
                    self._send_jobs(waiting, busy)
                    self._receive(waiting, busy)
                    self._check_open()
            finally:  # after an error, the remaining tasks are useless
                for running in busy.values():
                    running.worker.kill()

    def close(self) -> None:
        """Stop the workers. Those with external resources release them first."""
        self._closed = True
        with self._lock:
            workers = [worker for idle in self._idle.values() for worker in idle]
            self._idle.clear()
            for worker in workers:
                worker.close_connection()
            for worker in workers:
                worker.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the worker pool is closed")

    def _send_jobs(self, waiting: dict[int | None, deque[Job]], busy: dict[Connection, _Running]) -> None:
        for lane, queue in waiting.items():
            limit = self.shared_workers if lane is None else self.lane_workers(lane)
            while queue and sum(running.lane == lane for running in busy.values()) < limit:
                worker = self._idle_worker(lane) or _Worker(self._components)
                job = queue.popleft()
                timeout_s = BEGIN_TIMEOUT_S if job.component in worker.built_components else BUILD_TIMEOUT_S
                running = _Running(worker, lane, job, deadline=time.monotonic() + timeout_s)
                busy[worker.connection] = running
                worker.send(job.task())

    def _idle_worker(self, lane: int | None) -> _Worker | None:
        idle = self._idle.setdefault(lane, [])
        while idle:
            worker = idle.pop()
            if worker.alive():
                return worker
            worker.kill()  # it died while idle, and its children may still run
        return None

    def _receive(self, waiting: dict[int | None, deque[Job]], busy: dict[Connection, _Running]) -> None:
        """Wait for messages or the first deadline, read the messages, and kill late workers."""
        first_deadline = min(running.deadline for running in busy.values())
        ready = wait(list(busy), timeout=min(CLOSING_S, max(0.0, first_deadline - time.monotonic())))
        for connection in ready:
            assert isinstance(connection, Connection)
            running = busy[connection]
            try:
                message = connection.recv()
            except (EOFError, ConnectionError):
                del busy[connection]
                self._lost(running, waiting, Failure.VERIFIER, running.worker.wait_for_exit())
                continue
            if self._ends_task(running, message):
                del busy[connection]
                self._idle.setdefault(running.lane, []).append(running.worker)
                if not running.job.done:
                    waiting[running.lane].appendleft(running.job)
        now = time.monotonic()
        for connection, running in list(busy.items()):
            if running.deadline <= now and connection not in ready:
                del busy[connection]
                running.worker.kill()
                self._lost(
                    running, waiting, Failure.TIMEOUT, f"no verdict within {running.job.timeout_s:g} s"
                )

    def _ends_task(self, running: _Running, message: Any) -> bool:
        """Process a worker's message. Return whether it is the last one of the task.

        Raises:
            PluginLoadError, ParamsError, PluginContractError: The component cannot be built.
        """
        if isinstance(message, BuildFailed):
            raise message.error
        if isinstance(message, SettingUp):
            running.set_up(message.timeout_s)
        elif isinstance(message, Built):
            self._lost_builds[running.job.component] = 0
            running.start(message.concurrent)
        elif isinstance(message, Waiting):
            running.restart_clock()
        elif isinstance(message, Warned):
            logger.warning("%s: %s", self._components[running.job.component].plugin, message.text)
        elif running.job.receive(message):
            return True
        else:
            running.restart_clock()
        return False

    def _lost(
        self, running: _Running, waiting: dict[int | None, deque[Job]], failure: Failure, reason: str
    ) -> None:
        if not running.built and running.worker.built_components:  # an earlier task may have caused the fault
            waiting[running.lane].appendleft(running.job)
            return
        if not running.built:
            late = failure is Failure.TIMEOUT
            self._lost_builds[running.job.component] += 1
            if not late and self._lost_builds[running.job.component] < MOST_LOST_BUILDS:
                waiting[running.lane].appendleft(running.job)
                return
            plugin = self._components[running.job.component].plugin
            why = running.lateness if late else reason
            raise PluginLoadError(f"{plugin} cannot be built: {why}. Import it by hand to see what it does.")
        latency_ms = (time.monotonic() - running.clock) * 1000
        running.job.lose(Score.failed(failure, reason), latency_ms, running.concurrent)
        if not running.job.done:
            waiting[running.lane].appendleft(running.job)


@dataclass(slots=True)
class _Running:
    """A job in progress at a worker."""

    worker: _Worker
    lane: int | None
    """The component that the worker is dedicated to; ``None`` for shared workers."""
    job: Job
    deadline: float
    """On the monotonic clock."""
    built: bool = False
    concurrent: bool = False
    clock: float = math.nan
    """When the current case began, on the monotonic clock."""

    setup_timeout_s: float | None = None
    """The deadline of the component's ``setup`` in seconds, if it has begun."""

    @property
    def lateness(self) -> str:
        """Return why a worker that has not built its component is late."""
        if self.setup_timeout_s is None:
            return f"building it took more than {BUILD_TIMEOUT_S:g} s"
        return f"its setup took more than {self.setup_timeout_s:g} s (raise its setup_timeout_s)"

    def set_up(self, timeout_s: float) -> None:
        self.setup_timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s

    def start(self, concurrent: bool) -> None:
        self.built = True
        self.worker.built_components.add(self.job.component)
        self.concurrent = concurrent
        self.restart_clock()

    def restart_clock(self) -> None:
        self.clock = time.monotonic()
        self.deadline = self.clock + self.job.timeout_s + (CONCURRENT_GRACE_S if self.concurrent else 0.0)


class _Worker:
    """One worker process. It dies with this process, however this one ends."""

    def __init__(self, components: Sequence[Component]) -> None:
        ours, theirs = socket.socketpair()
        lifeline_ours, lifeline_theirs = socket.socketpair()
        with theirs, lifeline_theirs:
            self._process = worker_process.start_process(
                "guerdon.scoring.worker", theirs.fileno(), lifeline_theirs.fileno()
            )
        self._lifeline = lifeline_ours
        self.connection = Connection(ours.detach())
        self.built_components: set[int] = set()
        """The components that it has built, by index."""
        self._writer: threading.Thread | None = None
        self._write(pickle.dumps(Hello(list(sys.path), components)))

    def send(self, task: VerifyTask | RewardTask) -> None:
        """Send a task without waiting until it is read."""
        data = pickle.dumps(task)
        if len(data) <= BUFFERED_BYTES:
            self._write(data)
        else:
            self._writer = threading.Thread(target=self._write, args=(data,), daemon=True)
            self._writer.start()

    def _write(self, data: bytes) -> None:
        # If the process is dead, the next read reports it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(data)

    def close_connection(self) -> None:
        """Close the connection. This ends an idle process, and cancels a task that was not read."""
        if self._writer is not None:
            # A write to a dead process blocks while a child of a plugin holds the socket, so shut the socket down.
            with socket.socket(fileno=os.dup(self.connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
            self._writer.join()
            self._writer = None
        self.connection.close()

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process and all its children at once."""
        worker_process.kill_tree(self._process.pid)
        self._reap()

    def close(self) -> None:
        """Wait for a process whose connection was closed, and kill it after a timeout."""
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def wait_for_exit(self) -> str:
        """Wait until a process whose connection has ended exits. Return how it ended, in words."""
        try:
            status = self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # it closed its end but still runs
            self.kill()
            return "the worker process closed its connection and was killed"
        self.kill()
        if status < 0:
            return f"the worker process was killed by {signal.Signals(-status).name}"
        return f"the worker process ended with exit status {status}"

    def _reap(self) -> None:
        self._process.wait()
        self.close_connection()
        self._lifeline.close()
