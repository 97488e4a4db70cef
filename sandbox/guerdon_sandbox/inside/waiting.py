"""Estimate how long a job has waited for a CPU that others had. This time is not charged to the job.

A box waits when one of its processes is runnable and none of them runs. So the time in which any process was runnable
is sampled, and the CPU time of the whole box is subtracted: processes that wait for each other, or for the box's quota,
do not wait for others. A sample sees all processes of the moment, however short their lives are. So a chain of
processes is measured like a single one.

Each period has one sample, at a random time that no program can foresee. So the estimate is right on average, and exact
for a job that is always runnable or always asleep. A program that notices each sample and then sleeps until the next
period wins half of each period, so its limit comes after twice its time. It needs only the standard library.
"""

import os
import time
from collections.abc import Iterator

from guerdon_sandbox.inside.counters import CpuTime

PERIOD_S = 0.02
"""Seconds for which a sample counts."""
WINDOW_S = 1.0
"""Seconds after which the box's CPU time is compared. Many periods of its quota, so that a quota used up at once, by
many threads, is compared with all the time in which it was missing.
"""
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

    def _begin_period(self, now: float) -> None:
        self._began = now
        self._ends = now + PERIOD_S
        self.due = now + PERIOD_S * _random()
        """When to take the next sample."""

    def sample(self) -> float:
        """Take the sample that is due. Return the time on the monotonic clock up to which it counts."""
        now, used_s = time.monotonic(), self._cpu_time.seconds()
        ends = max(self._ends, now)
        if now - self.due > PAUSE_S:
            self._paused_s += ends - self._began
        elif any(map(_is_runnable, _threads())):
            # If the sample is late, the supervisor itself was runnable since it was due.
            self._runnable_s += ends - self._began
        waited_s = self._paused_s
        if used_s is not None and self._used_before_s is not None:
            # In this time the box ran, or had used up its quota.
            waited_s += self._runnable_s - (used_s - self._used_before_s) / min(self._cpus, 1.0)
        self.seconds = max(self.seconds, self._before_s + waited_s)
        self._begin_period(ends)
        if now >= self._window_ends:
            self._begin_window(ends, used_s)
        return now


def _random() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _threads() -> Iterator[str]:
    """Yield the folders of all threads in the box but the supervisor's: the job's and the zygotes'."""
    own = str(os.getpid())
    for process in os.listdir("/proc"):  # noqa: PTH208 - a Path costs as much as the sample
        if process.isdigit() and process != own:
            try:
                threads = os.listdir(f"/proc/{process}/task")  # noqa: PTH208
            except OSError:
                threads = [process]  # it has just ended
            for thread in threads:
                yield f"/proc/{process}/task/{thread}"


def _is_runnable(thread: str) -> bool:
    try:
        with open(f"{thread}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b") ")[2][:1] == b"R"  # its name may be any bytes
    except OSError:
        return True  # it has ended since it was listed, for which it needed a CPU
