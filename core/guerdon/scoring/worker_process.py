"""What processes that run plugins need, because plugins may fork and start other processes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from guerdon.scoring.protocol import Warned


class OwnConnection(Connection):
    """A connection on which only this process answers.

    A plugin that forks may return in the child too. The child's answer would be taken for that of the next task, so the
    child ends here.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(handle)
        self._owner = os.getpid()
        self._turn = threading.Lock()  # a warning may come from another thread

    def send(self, obj: Any) -> None:
        """Send an object."""
        self._end_fork()
        with self._turn:
            super().send(obj)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send bytes."""
        self._end_fork()
        with self._turn:
            super().send_bytes(buf, offset, size)

    def _end_fork(self) -> None:
        if os.getpid() != self._owner:
            os._exit(0)


class Warnings(logging.Handler):
    """Sends the user's process the warnings that plugins log, because what a worker prints is discarded.

    Only loggers whose names begin with ``guerdon`` are heard: other libraries warn their developers.
    """

    def __init__(self, send: Callable[[Warned], None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send
        self._owner = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record's text."""
        if record.name.startswith("guerdon") and os.getpid() == self._owner:
            with contextlib.suppress(OSError):  # the engine has closed the connection
                self._send(Warned(record.getMessage()))


def start_process(module: str, *descriptors: int) -> subprocess.Popen[bytes]:
    """Start ``python -m MODULE DESCRIPTOR...`` with its own session, so that a plugin's children can be killed with it.

    Args:
        module: The module of guerdon.
        descriptors: What the process inherits of this one's open files.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


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
