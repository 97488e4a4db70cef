"""What processes that run plugins need, because plugins may fork and start other processes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class OwnConnection(Connection):
    """A connection on which only this process answers.

    A plugin that forks may return in the child too. The child's answer would be taken for that of the next task, so the
    child ends here.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(handle)
        self._owner = os.getpid()

    def send(self, obj: Any) -> None:
        """Send an object."""
        self._end_fork()
        super().send(obj)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send bytes."""
        self._end_fork()
        super().send_bytes(buf, offset, size)

    def _end_fork(self) -> None:
        if os.getpid() != self._owner:
            os._exit(0)


def kill_tree(pid: int) -> None:
    """Kill the group of a process, and the processes that they have started, also those with a session of their own.

    A process outside the group whose parent has ended is not found.
    """
    try:
        os.killpg(pid, signal.SIGSTOP)  # so that none starts another one meanwhile
    except (ProcessLookupError, PermissionError):
        return  # the number may be that of another process by now
    descendants = list(_descendants(pid))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for number in descendants:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                after_name = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children[int(after_name[1])].append(int(entry.name))
    found = children[pid]
    while found:
        yield from found
        found = [child for parent in found for child in children[parent]]
