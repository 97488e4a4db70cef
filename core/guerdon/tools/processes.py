"""The toolbox's side of its processes: start them, send them tasks, and kill them."""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait

from guerdon.plugins.component import Component
from guerdon.scoring import worker_process
from guerdon.tools.protocol import KILL, PID, SPAWN, Hello, Task

CLOSE_TIMEOUT_S = 10.0
"""Seconds for all processes to release their resources before they are killed."""


class ForkServer:
    """Starts processes. All die with this process, however this one ends.

    Args:
        components: What the processes run; tasks refer to them by index.
    """

    def __init__(self, components: Sequence[Component]) -> None:
        self._components = list(components)
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lifeline: socket.socket | None = None
        self._lock = threading.Lock()

    def spawn(self) -> Process:
        """Start a process. If the server is dead, start another one first.

        Raises:
            OSError: No server starts.
        """
        with self._lock:
            try:
                return self._spawn()
            except (OSError, EOFError):
                self._stop()
                return self._spawn()

    def _spawn(self) -> Process:
        if self._control is None:
            self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        lifeline, lifeline_theirs = socket.socketpair()
        with theirs, lifeline_theirs:
            socket.send_fds(self._control, [SPAWN], [theirs.fileno(), lifeline_theirs.fileno()])
        answer = self._control.recv(PID.size, socket.MSG_WAITALL)
        if len(answer) < PID.size:
            raise EOFError
        return Process(self, PID.unpack(answer)[0], Connection(ours.detach()), lifeline)

    def _start(self) -> None:
        self._control, control = socket.socketpair()
        self._lifeline, lifeline = socket.socketpair()
        with control, lifeline:
            self._server = worker_process.start_process(
                "guerdon.tools.fork_server", control.fileno(), lifeline.fileno()
            )
        hello = pickle.dumps(Hello(list(sys.path), self._components))
        self._control.sendall(PID.pack(len(hello)) + hello)

    def kill(self, pid: int) -> None:
        """Kill a process with its children, and release its number."""
        with self._lock:
            try:
                assert self._control is not None
                self._control.sendall(KILL + PID.pack(pid))
                if not self._control.recv(PID.size, socket.MSG_WAITALL):
                    raise EOFError
            except (
                OSError,
                EOFError,
                AssertionError,
            ):  # the server is dead, and its children are not ours to wait for
                worker_process.kill_tree(pid)

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()  # the server carries out what it was sent, and ends
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(CLOSE_TIMEOUT_S)
            self._server.kill()
            self._server.wait()
        if self._lifeline is not None:
            self._lifeline.close()
        self._control = self._lifeline = self._server = None


class Process:
    """One process, with a connection to it."""

    def __init__(self, server: ForkServer, pid: int, connection: Connection, lifeline: socket.socket) -> None:
        self._server = server
        self._pid = pid
        self._lifeline = lifeline
        self.connection = connection
        self.built_components: set[int] = set()
        """The components that it has built, by index."""

    def send(self, task: Task) -> None:
        """Send a task. If the process is dead, the next read reports it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(pickle.dumps(task))

    def kill(self) -> None:
        """Kill the process and its children at once."""
        self._server.kill(self._pid)  # first: the end of the lifeline kills it without its children
        self.connection.close()
        self._lifeline.close()

    @staticmethod
    def close_all(processes: Sequence[Process]) -> None:
        """Let processes release their resources, and end them."""
        for process in processes:
            process.connection.close()
        ends = {process._lifeline: process for process in processes}
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        waiting = list(ends)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for end in wait(waiting, timeout=left):
                assert isinstance(end, socket.socket)
                waiting.remove(end)
        for process in processes:
            process._server.kill(process._pid)
            process._lifeline.close()
