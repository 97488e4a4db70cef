"""The process that starts the toolbox's processes by forks of itself.

Started as ``python -m guerdon.tools.fork_server SOCKET_FD LIFELINE_FD``. It imports the plugins once and runs no tool
itself, so it has no threads and no locks that a fork would break, and a fork costs milliseconds where a new interpreter
costs seconds. One process for each rollout's environment is affordable in this way only.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import sys

from guerdon.scoring.worker import die_with_parent, silence
from guerdon.scoring.worker_process import OwnConnection, kill_tree
from guerdon.tools.host import serve
from guerdon.tools.protocol import KILL, PID, Hello


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    lifeline = int(sys.argv[2])
    die_with_parent(lifeline)
    silence()
    (size,) = PID.unpack(_exactly(control, PID.size))
    hello: Hello = pickle.loads(_exactly(control, size))
    sys.path[:] = hello.sys_path
    for component in hello.components:
        with contextlib.suppress(BaseException):  # the process that builds it reports the error
            component.loaded  # noqa: B018
    gc.freeze()  # so that a collection in a fork does not copy these objects' pages
    while True:
        command, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not command:
            return
        if command == KILL:
            (pid,) = PID.unpack(_exactly(control, PID.size))
            _kill(pid)
            control.sendall(PID.pack(pid))
            continue
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                os.close(lifeline)
                os.setsid()  # so that the processes that a tool starts are killed with it
                die_with_parent(descriptors[1])
                serve(OwnConnection(descriptors[0]), hello.components)
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        control.sendall(PID.pack(pid))


def _kill(pid: int) -> None:
    """Kill a process and its children, and release its number, which no other process can have until then."""
    kill_tree(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # it may not have its own group yet
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _exactly(control: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        part = control.recv(count - len(received))
        if not part:
            sys.exit(0)
        received += part
    return bytes(received)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the toolbox ended
        main()
