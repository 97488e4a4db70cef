"""Run tasks in the toolbox's processes: many at a time, each with its deadline."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

from guerdon.errors import PluginLoadError
from guerdon.scoring.pool import BUILD_TIMEOUT_S, MOST_LOST_BUILDS
from guerdon.tools.processes import ForkServer, Process
from guerdon.tools.protocol import Task

Lane: TypeAlias = tuple[str, int]
"""Tasks of one lane share processes. The lane of an environment's instance has one process."""

SHARED: Lane = ("shared", 0)
SESSION = "session"
"""The name of the lanes whose process holds a state: after its loss, the lane's other jobs cannot run."""


@dataclass(slots=True)
class Job:
    """A task, and its outcome."""

    lane: Lane
    task: Task
    timeout_s: float
    answer: Mapping[str, Any] | None = None
    """What the process answered; ``None`` if it was lost."""
    lost: str | None = None
    """``timeout`` or ``crash``."""
    latency_ms: float = 0.0


class Scheduler:
    """Runs jobs.

    Args:
        server: Starts processes.
        limits: The most processes of a lane. A lane that is not listed has one.
    """

    def __init__(self, server: ForkServer, limits: Mapping[Lane, int]) -> None:
        self._server = server
        self._limits = limits
        self._idle: dict[Lane, list[Process]] = {}
        self._lost_builds: Counter[int] = Counter()
        """For each component, how many fresh processes died in a row while they built it."""

    def run(self, jobs: Iterable[Job]) -> None:
        """Run jobs. Those of a lane with one process run in order.

        Raises:
            PluginLoadError: A plugin cannot be built.
        """
        waiting: dict[Lane, deque[Job]] = {}
        for job in jobs:
            waiting.setdefault(job.lane, deque()).append(job)
        busy: dict[Connection, _Running] = {}
        used = dict.fromkeys(waiting, 0)
        try:
            while True:
                self._send_jobs(waiting, busy, used)
                if not busy:
                    return
                self._receive(waiting, busy, used)
        finally:  # after an error, the other answers are useless
            for running in busy.values():
                running.process.kill()

    def take(self, lane: Lane) -> Process | None:
        """Return the idle process of a lane, which then belongs to the caller."""
        idle = self._idle.get(lane)
        return idle.pop() if idle else None

    def give(self, lane: Lane, process: Process) -> None:
        """Add an idle process to a lane."""
        self._idle.setdefault(lane, []).append(process)

    def close(self) -> None:
        """End all processes."""
        Process.close_all([process for idle in self._idle.values() for process in idle])
        self._idle.clear()

    def _send_jobs(
        self, waiting: dict[Lane, deque[Job]], busy: dict[Connection, _Running], used: dict[Lane, int]
    ) -> None:
        for lane in list(waiting):
            queue = waiting[lane]
            while queue and used[lane] < self._limits.get(lane, 1):
                process = self.take(lane) or self._server.spawn()
                job = queue.popleft()
                running = _Running(process, job)
                busy[process.connection] = running
                used[lane] += 1
                process.send(job.task)
            if not queue:
                del waiting[lane]

    def _receive(
        self, waiting: dict[Lane, deque[Job]], busy: dict[Connection, _Running], used: dict[Lane, int]
    ) -> None:
        first = min(running.deadline for running in busy.values())
        ready = wait(list(busy), timeout=max(0.0, first - time.monotonic()))
        for connection in ready:
            assert isinstance(connection, Connection)
            running = busy[connection]
            try:
                answer = json.loads(connection.recv_bytes())
            except (EOFError, OSError, ValueError):
                self._lose(waiting, busy.pop(connection), used, "crash")
                continue
            if "built" in answer:
                self._lost_builds[running.job.task.component] = 0
            if running.receive(answer):
                del busy[connection]
                used[running.job.lane] -= 1
                self.give(running.job.lane, running.process)
        now = time.monotonic()
        for connection, running in list(busy.items()):
            if running.deadline <= now and connection not in ready:
                self._lose(waiting, busy.pop(connection), used, "timeout")

    def _lose(
        self, waiting: dict[Lane, deque[Job]], running: _Running, used: dict[Lane, int], reason: str
    ) -> None:
        lane = running.job.lane
        used[lane] -= 1
        running.process.kill()
        if not running.built and reason == "crash" and not running.process.built_components:
            component = running.job.task.component
            self._lost_builds[component] += 1
            if self._lost_builds[component] < MOST_LOST_BUILDS:
                waiting.setdefault(lane, deque()).appendleft(running.job)
                return
        running.lose(reason)
        if lane[0] == SESSION:
            for job in waiting.pop(lane, ()):
                job.lost = reason


class _Running:
    """A job in progress."""

    def __init__(self, process: Process, job: Job) -> None:
        self.process = process
        self.job = job
        self._clock = math.nan
        self.built = job.task.component in process.built_components
        self._start(job.timeout_s if self.built else BUILD_TIMEOUT_S)

    def _start(self, timeout_s: float) -> None:
        self._clock = time.monotonic()
        self.deadline = self._clock + timeout_s

    def receive(self, answer: Mapping[str, Any]) -> bool:
        """Take a message. Return whether it ends the job."""
        if "setup_timeout_s" in answer:
            self._start(float(answer["setup_timeout_s"]))
            return False
        if "built" in answer:
            self.process.built_components.add(self.job.task.component)
            self.built = True
            self._start(self.job.timeout_s)
            return False
        self.job.answer = answer
        self.job.latency_ms = (time.monotonic() - self._clock) * 1000
        return True

    def lose(self, reason: str) -> None:
        """Account for a process that died or was killed.

        Raises:
            PluginLoadError: It had not built the plugin.
        """
        if not self.built:
            what = "took too long" if reason == "timeout" else "ended the process"
            raise PluginLoadError(
                f"a tool or environment cannot be built: its constructor {what}. Import it by hand to see what it does."
            )
        self.job.lost = reason
        self.job.latency_ms = (time.monotonic() - self._clock) * 1000
