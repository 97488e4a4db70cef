"""Estimate how long a job has waited for a CPU that others had. This time is not charged to the job.

A box waits when one of its processes is runnable and none of them runs. So the time in which any process was runnable
is sampled, and the CPU time of the whole box is subtracted: processes that wait for each other, or for the box's quota,
do not wait for others. A sample sees all processes of the moment, however short their lives are. So a chain of
processes is measured like a single one. If the supervisor loses its CPU while it looks, processes may start and end
unseen, so it looks again. The CPU time of the samples is not the job's.

Each period has one sample, at a random time that no program can foresee. So the estimate is right on average, and exact
for a job that is always runnable or always asleep. A program that notices each sample and then sleeps until the next
period wins half of each period, so its limit comes after twice its time. It needs only the standard library.
"""

import os
import resource
import time

from guerdon_sandbox.inside.counters import CpuTime

PERIOD_S = 0.02
"""Seconds for which a sample counts."""
WINDOW_S = 1.0
"""Seconds after which the box's CPU time is compared. Many periods of its quota, so that a quota used up at once, by
many threads, is compared with all the time in which it was missing.
"""
_LOOKS = 5
"""The most looks of one sample."""
_THREADS = 17
"""The index of the number of threads in a process's fields, counted from its state."""
PAUSE_S = 1.0
"""A sample that is late by this many seconds means that the whole box was frozen, or had no CPU."""


class Waiting:
    """One job's waiting time, up to the last sample."""

    def __init__(self, started: float, cpus: float, cpu_time: CpuTime) -> None:
        """Start counting.

        Args:
            started: The job's start on the monotonic clock.
            cpus: CPUs that the box may use.
            cpu_time: The box's CPU time.
        """
        self._cpu_time = cpu_time
        self.seconds = 0.0
        """Seconds waited. Only those of pauses if the kernel does not report the box's CPU time."""
        self._cpus = cpus
        self._begin_window(started, cpu_time.seconds())
        self._begin_period(started)

    def _begin_window(self, now: float, used_s: float | None) -> None:
        self._window_ends = now + WINDOW_S
        self._before_s = self.seconds
        self._used_before_s = used_s
        self._paused_s = 0.0
        self._runnable_s = 0.0
        self._sampling_s = 0.0

    def _begin_period(self, now: float) -> None:
        self._began = now
        self._ends = now + PERIOD_S
        self.due = now + PERIOD_S * _random()
        """When to take the next sample."""

    def sample(self) -> float:
        """Take the sample that is due. Return the time on the monotonic clock up to which it counts."""
        began_s, now, used_s = time.thread_time(), time.monotonic(), self._cpu_time.seconds()
        ends = max(self._ends, now)
        if now - self.due > PAUSE_S:
            self._paused_s += ends - self._began
        elif _is_any_runnable():
            # If the sample is late, the supervisor itself was runnable since it was due.
            self._runnable_s += ends - self._began
        waited_s = self._paused_s
        if used_s is not None and self._used_before_s is not None:
            # In this time the box ran, or had used up its quota.
            ran_s = used_s - self._used_before_s - self._sampling_s
            waited_s += self._runnable_s - ran_s / min(self._cpus, 1.0)
        self.seconds = max(self.seconds, self._before_s + waited_s)
        self._begin_period(ends)
        if now >= self._window_ends:
            self._begin_window(ends, used_s)
        self._sampling_s += time.thread_time() - began_s
        return now


def _random() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _is_any_runnable() -> bool:
    """Return whether a thread in the box is runnable: the job's or the zygotes', but not the supervisor's."""
    for _ in range(_LOOKS):
        interruptions = _interruptions()
        if any(map(_is_runnable, _processes())):
            return True
        if _interruptions() == interruptions:
            break
    return False


def _interruptions() -> int:
    """Return how often the supervisor has lost its CPU while it was running."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _processes() -> list[str]:
    """Return the folders of all processes but the supervisor's, the newest first, as children wake their parents."""
    own = str(os.getpid())
    names = os.listdir("/proc")  # noqa: PTH208 - a Path costs as much as the sample
    return [f"/proc/{name}" for name in reversed(names) if name.isdigit() and name != own]


def _is_runnable(process: str) -> bool:
    """Return whether a thread of a process is runnable, or has ended since it was listed, for which it needed a CPU."""
    try:
        fields = _stat(process)
        if fields[0] == b"R" or fields[_THREADS] == b"1":
            return fields[0] == b"R"
        threads = os.listdir(f"{process}/task")  # noqa: PTH208
        return any(_stat(f"{process}/task/{thread}")[0] == b"R" for thread in threads)
    except OSError:
        return True


def _stat(folder: str) -> list[bytes]:
    """Return the fields of a process or thread, from its state on."""
    fd = os.open(f"{folder}/stat", os.O_RDONLY)
    try:
        return os.read(fd, 1024).rpartition(b") ")[2].split()  # its name may be any bytes
    finally:
        os.close(fd)
