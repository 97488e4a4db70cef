"""The limits of a job."""

from __future__ import annotations

from dataclasses import dataclass

from guerdon_sandbox.errors import SandboxUsageError

_MOST = 2**50
"""Far above what a box can have, and small enough for the kernel's numbers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A job's limits.

    CPU time is the main limit. Wall time limits jobs that sleep. Neither depends on the machine's other work: time in
    which a job waits for a CPU does not count.

    Raises:
        SandboxUsageError: A limit is not a positive number, or not a whole one where it counts something.
    """

    cpu_s: int = 10
    """CPU seconds of each process, whole ones."""
    wall_s: float = 30.0
    """Seconds from the job's start to its end, without its waits for a CPU."""
    memory_bytes: int = 256 << 20
    """Writable memory of each process. The box as a whole has its own limit."""
    stdout_bytes: int = 1 << 20
    """The limit of a program's output; a longer one ends the program. For calls and checks, the rest is dropped."""
    stderr_bytes: int = 64 << 10
    """The limit of error output; the rest is dropped."""
    reply_bytes: int = 16 << 20
    """The limit of all replies of a candidate to its calls together, encoded."""
    reply_items: int = 1 << 18
    """The limit of all values in them together, which the host decodes."""
    file_bytes: int = 32 << 20
    """The size of one file. The work folder as a whole holds 64 MiB."""
    processes: int = 32
    """The most concurrent processes and threads."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            kinds = (int, float) if name == "wall_s" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise SandboxUsageError(f"limit {name} is {value!r}; it must be a whole number")
            if not (0 < value <= _MOST):
                raise SandboxUsageError(f"limit {name} is {value!r}; it must be positive, and 2**50 at most")
