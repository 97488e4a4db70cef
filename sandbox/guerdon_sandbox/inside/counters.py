"""Read what the kernel counts of the box: memory, processes, CPU time, kills for lack of memory.

It runs in the supervisor, and needs the standard library only.
"""

import os
from collections.abc import Sequence

_ROOT = "/sys/fs/cgroup"
_LONGEST = 1 << 16


class Counter:
    """One number in a file of the box's cgroup, version 1 or 2."""

    def __init__(self, *places: tuple[str, str], root: str = _ROOT) -> None:
        """Open the first file that exists. It stays open, because a counter is read with every job.

        Args:
            places: Files below the root, each with the text before the number in its line.
            root: The folder of the cgroup file systems.
        """
        self._fd: int | None = None
        for path, start in places:
            try:
                self._fd = os.open(f"{root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            self._start = start.encode()
            break

    def read(self) -> int | None:
        """Return the number, or None if the kernel does not report it."""
        if self._fd is None:
            return None
        try:
            data = os.pread(self._fd, _LONGEST, 0)
        except OSError:
            return None
        if not self._start:
            return int(data)
        for line in data.splitlines():
            if line.startswith(self._start):
                return int(line[len(self._start) :])
        return None


def read_sum(counters: Sequence[Counter]) -> int:
    """Return the sum of those counters that the kernel reports."""
    return sum(counter.read() or 0 for counter in counters)


class CpuTime:
    """The CPU time of the box, including that of ended processes."""

    def __init__(self, root: str = _ROOT) -> None:
        """Open the files of both versions of cgroups.

        Args:
            root: The folder of the cgroup file systems.
        """
        self._units = (
            (Counter(("cpu.stat", "usage_usec "), root=root), 1e-6),
            (Counter(("cpuacct/cpuacct.usage", ""), root=root), 1e-9),
        )

    def seconds(self) -> float | None:
        """Return the time so far in seconds, or None if the kernel does not report it."""
        for counter, unit in self._units:
            if (value := counter.read()) is not None:
                return value * unit
        return None
