"""PID 1 of a box: takes one job after the other from stdin, has it run, kills what is left of it, answers on stdout.

It runs as root of a container whose root has two capabilities, SETUID and SETGID. Jobs run as a uid that is used once.
The supervisor never runs a job's code and never forks: the zygote, a separate process that is exec'd fresh and only
ever receives file descriptors, does. So neither the next job nor the zygote holds anything of an earlier one.

It lives as long as its stdin. Everything in a container dies with its PID 1, so a host that is killed leaves no orphan.
It needs the standard library only.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.counters import CpuTime
from guerdon_sandbox.inside.forking import JobFaultError, Zygote
from guerdon_sandbox.inside.idling import Idle
from guerdon_sandbox.inside.kills import HostFaultError, MemoryKills
from guerdon_sandbox.inside.running import Running
from guerdon_sandbox.inside.stream import Blobs, read_exactly, read_request, write_answer
from guerdon_sandbox.inside.sweeping import (
    WORK,
    as_user,
    read_file,
    reset_devices,
    share_memory,
    sweep,
    write_file,
)
from guerdon_sandbox.inside.waiting import Waiting
from guerdon_sandbox.inside.wire import Answer, Limit, Request

REAP_S = 2.0
"""Seconds for killed processes to disappear before the box counts as dirty."""
SETTLE_S = 5.0
"""Seconds for the kernel to free what a job has used, before the box counts as dirty."""


def main(bootstrap: list[str]) -> None:
    """Serve until stdin closes.

    Args:
        bootstrap: The command line that starts the zygote, up to the number of its control descriptor.
    """
    # PID 1 ignores signals from inside for which it has no handler.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    share_memory()
    supervisor = _Supervisor(bootstrap)
    write_answer({"python": sys.version.split()[0]}, [])
    while not _serve(supervisor):
        pass
    os._exit(3)


def _serve(supervisor: "_Supervisor") -> str | None:
    """Run one job, and hold nothing of it afterwards. Return why the box is dirty, if it is."""
    answer, output = _answer(supervisor, *read_request())
    write_answer(answer._asdict(), output)
    return answer.dirty


def _answer(
    supervisor: "_Supervisor", request: Request, blobs: Blobs
) -> tuple[Answer, Sequence[bytes | bytearray]]:
    """Run one job. An error here is reported in the answer, and affects this box only."""
    try:
        return supervisor.run(request, blobs)
    except HostFaultError as error:
        return Answer.killed(None, request, str(error))._replace(host_fault=True), []
    except Exception as error:
        return Answer.killed(None, request, f"{type(error).__name__}: {error}"), []


class _Supervisor:
    def __init__(self, bootstrap: list[str]) -> None:
        self._bootstrap = bootstrap
        self._zygotes = {False: Zygote(bootstrap)}
        """By whether they have imported numpy. That one is started for the first job that needs it."""
        self._uids = fresh_uids()
        self._memory_kills = MemoryKills()
        self._idle = Idle(WORK)
        self._cpu_time = CpuTime()

    def run(self, request: Request, blobs: Blobs) -> tuple[Answer, Sequence[bytes | bytearray]]:
        """Run one job to its end and remove everything that it leaves.

        Raises:
            Exception: Nothing is known of the job, and the box must not be used again.
        """
        self._memory_kills.begin()
        try:
            return self._run(request, blobs)
        except JobFaultError as error:
            if not self._memory_kills.end():
                raise
            # The job had the whole box and took its last memory, for which the kernel chose a zygote.
            answer = Answer.killed(Limit.MEMORY, request)._replace(dirty=str(error))
            return answer, [b""] * len(request.outputs)

    def _run(self, request: Request, blobs: Blobs) -> tuple[Answer, Sequence[bytes | bytearray]]:
        limits = request.limits
        candidate, checker = next(self._uids), next(self._uids)
        job = Running(request, candidate, checker, blobs)
        if request.files:
            with as_user(candidate):
                for path, content in zip(request.files, blobs.files, strict=True):
                    write_file(path, content, executable=path in request.executables)
        uids = {process.uid for process in job.processes}
        if True in request.numpy and True not in self._zygotes:
            self._zygotes[True] = Zygote(self._bootstrap, "numpy")
            self._idle.note()
        started = time.monotonic()
        waiting = Waiting(started, request.cpus, self._cpu_time)
        for numpy, zygote in self._zygotes.items():
            if processes := [one for one in job.processes if one.numpy == numpy]:
                zygote.fork(processes, limits)
        limit = self._watch(job, started, waiting, request)
        wall_s = time.monotonic() - started
        status = job.status()
        dirty = self._end(job)
        job.drain()
        collected: list[bytes | None] = []
        if request.collect:
            with as_user(candidate):
                collected = list(_collect(request.collect))
        output: list[bytes | bytearray] = list(job.buffers.values())
        output += [content for content in collected if content is not None]
        held_bytes = sum(map(len, (*blobs.files, *output)))
        dirty = dirty or sweep(sorted(uids)) or self._settle(held_bytes)
        reset_devices()
        if self._memory_kills.end():
            limit = limit or Limit.MEMORY
        missing = [path for path, content in zip(request.collect, collected, strict=True) if content is None]
        usage = job.exits.values()
        answer = Answer(
            status=status,
            limit=limit,
            truncated=sorted(job.truncated),
            wall_s=wall_s,
            waited_s=waiting.seconds,
            cpu_s=sum(end.cpu_s for end in usage),
            peak_kib=max((end.peak_kib for end in usage), default=0),
            dirty=dirty,
            missing=missing,
        )
        return answer, output

    def _watch(self, job: Running, started: float, waiting: Waiting, request: Request) -> Limit | None:
        """Collect output until the job's deciding process ends. Return the limit that ended it, if one did.

        Time in which the job waited for a CPU, or the box was frozen, does not count, up to the patience. A job that
        waited longer was ``starved``: nothing is known of it.
        """
        limits, patience_s = request.limits, request.patience_s
        poller = select.poll()
        poller.register(0, select.POLLIN)
        zygotes = {zygote.socket.fileno(): zygote for zygote in self._zygotes.values()}
        for fd in zygotes:
            poller.register(fd, select.POLLIN)
        for fd in job.pipes:
            poller.register(fd, select.POLLIN)
        over: Limit | None = None
        while True:
            for fd, _ in poller.poll(0 if over else max(waiting.due - time.monotonic(), 0) * 1000):
                if fd == 0:
                    # Nothing else comes before the answer. The read ends if the host closes the connection.
                    read_exactly(len(wire.ABORT))
                    return Limit.CANCELLED
                if fd in zygotes:
                    zygotes[fd].note_exit(job)
                elif not job.read(fd):
                    poller.unregister(fd)
            if job.truncated & job.bounded:
                return Limit.OUTPUT
            if job.deciding in job.exits:
                return None
            if over:
                return over
            if time.monotonic() >= waiting.due:
                now = waiting.sample()
                excused_s = min(waiting.seconds, patience_s)
                if now >= started + limits.wall_s + excused_s:
                    # The job may have ended since the poll, and then nothing was runnable. The next poll says so.
                    over = Limit.STARVED if waiting.seconds >= patience_s else Limit.WALL

    def _end(self, job: Running) -> str | None:
        """Kill every process of the job. Return why the box is dirty, if it is."""
        deadline = time.monotonic() + REAP_S
        if len(job.exits) < len(job.processes) or self._others():
            for uid in {process.uid for process in job.processes}:
                with as_user(uid), contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
        zygotes = {zygote.socket: zygote for zygote in self._zygotes.values()}
        while len(job.exits) < len(job.processes):
            readable, _, _ = select.select(zygotes, [], [], max(deadline - time.monotonic(), 0))
            if not readable:
                return "a process of the job cannot be killed"
            for one in readable:
                zygotes[one].note_exit(job)
        while self._others():
            if time.monotonic() > deadline:
                return "a process of the job cannot be killed"
            time.sleep(0.001)
        return None

    def _others(self) -> bool:
        """Return whether any process lives other than the supervisor and the zygotes.

        Raises:
            JobFaultError: A zygote died.
        """
        own = {zygote.pid for zygote in self._zygotes.values()}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) > 0:
                if ended in own:
                    raise JobFaultError("a zygote died")
        if not self._idle.more_processes():
            return False
        with os.scandir("/proc") as entries:
            return any(entry.name.isdigit() and int(entry.name) not in {1, *own} for entry in entries)

    def _settle(self, held_bytes: int) -> str | None:
        """Wait until the kernel has freed what the job used. Return why the box is dirty, if it does not."""
        deadline = time.monotonic() + SETTLE_S
        while excess := self._idle.excess(held_bytes):
            if time.monotonic() > deadline:
                return f"a job has left {excess} in use"
            _give_memory_back()
            time.sleep(0.005)
        return None


def _give_memory_back() -> None:
    """Have the allocator give back what the supervisor has freed, because it counts for the box."""
    import ctypes  # here, because few boxes need it

    with contextlib.suppress(AttributeError):  # glibc's only
        ctypes.CDLL(None).malloc_trim(0)


def _collect(paths: Sequence[str]) -> Iterator[bytes | None]:
    left = wire.COLLECT_TOTAL_BYTES
    for path in paths:
        content = read_file(path, min(left, wire.COLLECT_BYTES))
        left -= len(content or b"")
        yield content


def fresh_uids() -> Iterator[int]:
    """Yield uids that no other job on the host has, because RLIMIT_NPROC counts per uid across the host."""
    mapped = int(Path("/proc/self/uid_map").read_text().split()[2])
    low, high = (100_000, 2**31) if mapped > 2**31 else (1_000, mapped - 1)
    uid = low + int.from_bytes(os.urandom(8), "big") % (high - low)
    while True:
        yield uid
        uid = uid + 1 if uid + 1 < high else low
