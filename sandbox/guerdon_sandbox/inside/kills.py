"""Tell whose fault it is that the kernel kills processes of the box for lack of memory.

It runs in the supervisor, and needs the standard library only.
"""

from guerdon_sandbox.inside.counters import Counter

_NEAR_BYTES = 4 << 20
"""The largest charge that the kernel tries, and more: it fails while the box is still so far from its limit."""


class HostFaultError(Exception):
    """The host ended a process of the box. No job can be at fault."""


class MemoryKills:
    """Kills at the box's own limit, and kills because the host, or a group around the box, has no memory left."""

    def __init__(self) -> None:
        self._kills = Counter(("memory.events", "oom_kill "), ("memory/memory.oom_control", "oom_kill "))
        self._at_limit = Counter(("memory.events", "oom "))
        self._peak = Counter(("memory/memory.max_usage_in_bytes", ""))
        self._limit = Counter(("memory/memory.limit_in_bytes", ""))
        self._seen = self._kills.read()
        self._at_limit_before = self._at_limit.read()

    def begin(self) -> None:
        """Start a job.

        Raises:
            HostFaultError: A process was killed since the job before ended.
        """
        if self._kills.read() != self._seen:
            raise HostFaultError(
                "the kernel killed a process of the box between two jobs, for lack of memory"
            )
        self._at_limit_before = self._at_limit.read()

    def end(self) -> bool:
        """End a job. Return whether the kernel killed one of its processes because the box is at its limit.

        Without a start, the job began with the end before.

        Raises:
            HostFaultError: It killed one although the box is not.
        """
        kills = self._kills.read()
        if kills == self._seen:
            return False
        self._seen = kills
        if not self._was_at_limit():
            raise HostFaultError(
                "the host is out of memory: the kernel killed a process of a box below its limit"
            )
        return True

    def _was_at_limit(self) -> bool:
        """Return whether the box was at its limit during the job; for cgroup v1, whether it ever was."""
        peak, limit = self._peak.read(), self._limit.read()
        if peak is not None and limit is not None:
            return peak > limit - _NEAR_BYTES
        before, self._at_limit_before = self._at_limit_before, self._at_limit.read()
        return self._at_limit_before != before
