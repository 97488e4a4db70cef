"""Estimate how long a job has waited for a CPU that others had. This time is not charged to the job.

The kernel counts how long each thread was runnable without running. A job could easily increase that number, because
its threads wait for each other and for the box's quota. So the CPU time of the whole box is subtracted: a thread that
was active (ran or was runnable) for longer than the box ran must have waited for other work. The estimate is never too
high, and exact for a program of one thread. It needs only the standard library.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_USED = (("/sys/fs/cgroup/cpu.stat", "usage_usec ", 1e-6), ("/sys/fs/cgroup/cpuacct/cpuacct.usage", "", 1e-9))
"""Where cgroup v2 and v1 report the box's CPU time: the file, the start of the line, the unit in seconds."""


class Waiting:
    """One job's waiting time, up to the last check."""

    def __init__(self, zygote: int, uids: Iterable[int], cpus: float) -> None:
        """Start counting.

        Args:
            zygote: The process that runs at the start and the end of the job.
            uids: The users of the job's own processes.
            cpus: CPUs that the box may use.
        """
        self.seconds = 0.0
        """Seconds waited. Zero if the kernel does not report it, as in gVisor."""
        self.used_s = 0.0
        """Seconds that the box's CPU time takes at its quota. For at least this long, the job did not wait."""
        self.standing = False
        """Whether a runnable thread has not run since the last check. The length of its wait is not known yet."""
        self._zygote = zygote
        self._cpus = cpus
        self._before_s = _used_s()
        self._active_before_s = 0.0
        with contextlib.suppress(OSError, ValueError):
            self._active_before_s = _active_s(f"/proc/{zygote}")  # of its only thread
        # The zygote and the users run one after another, so their waits are added.
        self._longest = dict.fromkeys((0, *uids), 0.0)
        self._ready: dict[Path, tuple[float, float]] = {}
        """Threads that were runnable at the last check: how long each had been active, and since when."""

    def look(self) -> None:
        """Count. Call this regularly, because a thread's count is lost when it ends."""
        looked = list(self._threads())
        used_s = _used_s()  # after the threads: CPU time used meanwhile only lowers the estimate
        if used_s is None or self._before_s is None:
            return
        self.used_s = (used_s - self._before_s) / min(self._cpus, 1.0)
        last, self._ready, self.standing = self._ready, {}, False
        for user, thread, active_s, ready, began, ended in looked:
            unfinished_s = 0.0  # the kernel counts a wait when it is over
            if ready:
                before_s, since = last.get(thread, (-1.0, ended))
                if before_s == active_s:
                    self.standing = True
                    unfinished_s = began - since
                else:
                    since = ended
                self._ready[thread] = active_s, since
            self._longest[user] = max(self._longest[user], active_s + unfinished_s - self.used_s)
        self.seconds = sum(self._longest.values())

    def _threads(self) -> Iterator[tuple[int, Path, float, bool, float, float]]:
        """Yield the job's threads with their user (0 for the zygote), and the start and end of each check."""
        for process in (folder for folder in Path("/proc").iterdir() if folder.name.isdigit()):
            # If a process forbids reading its memory, root owns its folder, so the owner is not its user.
            with contextlib.suppress(OSError, ValueError, IndexError):
                status = (process / "status").read_bytes()  # its name may be any bytes
                user = int(status.partition(b"\nUid:")[2].split()[0])
                if user in self._longest and (user or process.name == str(self._zygote)):
                    began = time.monotonic()
                    for thread, active_s, ready in _threads(process):
                        before_s = 0.0 if user else self._active_before_s
                        yield user, thread, active_s - before_s, ready, began, time.monotonic()


def _threads(process: Path) -> Iterator[tuple[Path, float, bool]]:
    """Yield a process's threads: the seconds for which each ran or was runnable, and whether it does either now."""
    for thread in (process / "task").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            active_s = _active_s(str(thread))
            state = (thread / "stat").read_bytes().rpartition(b") ")[2][:1]
            yield thread, active_s, state == b"R"


def _active_s(thread: str) -> float:
    with open(f"{thread}/schedstat", "rb") as file:  # noqa: PTH123 - every job reads it, a Path costs as much again
        ran, waited, _ = file.read().split()
    return (int(ran) + int(waited)) * 1e-9


def _used_s() -> float | None:
    """Return the CPU seconds of the box so far, including ended processes, or None if unknown."""
    for path, start, unit in _USED:
        with contextlib.suppress(OSError, ValueError), open(path) as file:  # noqa: PTH123 - as above
            for line in file:
                if line.startswith(start):
                    return int(line.removeprefix(start)) * unit
    return None
