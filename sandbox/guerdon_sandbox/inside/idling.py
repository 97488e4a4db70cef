"""Compare what a box uses after a job with what it used before, so that no job pays for what an earlier one left.

The kernel frees some memory later than a process ends: page tables after a grace period of RCU, files in flight between
sockets in a worker. Until then it counts for the box. It needs only the standard library.
"""

import os

from guerdon_sandbox.inside.counters import Counter, read_sum

SLACK_BYTES = 16 << 20
"""Memory that may be in use beyond that of the idle box: what the kernel charges in advance for each CPU, and slabs."""


class Idle:
    """What the box uses without a job."""

    def __init__(self, work: bytes) -> None:
        """Note what the box uses now.

        Args:
            work: The work folder, a file system of its own.
        """
        self._work = work
        self._memory = Counter(("memory.current", ""), ("memory/memory.usage_in_bytes", ""))
        self._cached = [
            Counter(("memory.stat", f"{two} "), ("memory/memory.stat", f"{one} "))
            for two, one in (
                ("active_file", "total_active_file"),
                ("inactive_file", "total_inactive_file"),
                ("slab_reclaimable", "total_slab_reclaimable"),
            )
        ]
        """Memory that the kernel takes back when a job needs it."""
        self._processes = Counter(("pids.current", ""), ("pids/pids.current", ""))
        self.note()

    def note(self) -> None:
        """Take what the box uses now as its use without a job."""
        self._idle_bytes = self._in_use()
        self._idle_processes = self._processes.read()
        self._idle_files = self._free()

    def _in_use(self) -> int:
        return (self._memory.read() or 0) - read_sum(self._cached)

    def _free(self) -> tuple[int, int]:
        status = os.statvfs(self._work)
        return status.f_bfree, status.f_ffree

    def more_processes(self) -> bool:
        """Return whether the box has more processes and threads, or may have, as the kernel does not count them."""
        return self._idle_processes is None or self._processes.read() != self._idle_processes

    def excess(self, held_bytes: int = 0) -> str | None:
        """Return what the box uses beyond that, or None.

        Args:
            held_bytes: The job's files and outputs that the supervisor itself still holds.
        """
        most = self._idle_bytes + SLACK_BYTES + held_bytes
        if (self._memory.read() or 0) > most and self._in_use() > most:
            return "memory"
        if self._idle_processes is not None and self.more_processes():
            return "processes"
        blocks, files = self._free()
        if blocks < self._idle_files[0]:
            return "space in the work folder"
        return "files in the work folder" if files < self._idle_files[1] else None
