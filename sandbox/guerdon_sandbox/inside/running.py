"""A job that runs: its processes, and the ends of their pipes that the supervisor keeps.

It runs in the supervisor, and needs the standard library only.
"""

import os
import signal
from collections.abc import Sequence
from typing import NamedTuple

from guerdon_sandbox.inside.stream import Blobs, memory_file, output_pipe
from guerdon_sandbox.inside.wire import Request

# Names of the descriptors that each process of a job gets, in the order in which the zygote unpacks them.
STANDARD = ("payload", "stdin", "stdout", "stderr")
CHANNEL = ("inbox", "outbox")


class End(NamedTuple):
    """How a process ended."""

    status: int
    """Its wait status."""
    cpu_s: float
    peak_kib: int


class Process(NamedTuple):
    """The data of a job's process for the zygote."""

    number: int
    role: str
    uid: int
    names: Sequence[str]
    """The names of its descriptors."""
    fds: Sequence[int]
    numpy: bool


class Running:
    """The processes of one job and their descriptors."""

    def __init__(self, request: Request, candidate: int, checker: int, blobs: Blobs) -> None:
        self._numpy = request.numpy
        self.processes: list[Process] = []
        self.pipes: dict[int, str] = {}
        """The read ends that the supervisor keeps, with the output's name."""
        self.buffers = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated: set[str] = set()
        self.bounded = {"stdout"} if request.kind == "program" else {"replies", "verdict"}
        """The outputs that end the job if they are too long. Others are truncated."""
        self.exits: dict[int, End] = {}
        """By the process's index."""
        self.deciding = 0
        """The process whose end is the job's end."""
        self._limits = request.limits
        stdin = blobs.given if request.kind == "program" else memory_file()
        standard = [blobs.payload, stdin, self._output("stdout"), self._output("stderr")]
        if request.kind == "program":
            self._add("program", candidate, STANDARD, standard)
        elif request.kind == "calls":
            self._add(
                "serve", candidate, STANDARD + CHANNEL, [*standard, blobs.given, self._output("replies")]
            )
        else:
            requests, replies = os.pipe(), os.pipe()
            self._add("serve", candidate, STANDARD + CHANNEL, [*standard, requests[0], replies[1]])
            fds = [blobs.given, replies[0], requests[1], self._output("verdict")]
            self._add("check", checker, ("payload", *CHANNEL, "verdict"), fds)
            self.deciding = 1

    def _add(self, role: str, uid: int, names: tuple[str, ...], fds: list[int]) -> None:
        number = len(self.processes)
        self.processes.append(Process(number, role, uid, names, fds, self._numpy[number]))

    def _output(self, name: str) -> int:
        read_end, write_end = output_pipe()
        self.pipes[read_end] = name
        self.buffers[name] = bytearray()
        return write_end

    def status(self) -> int:
        """Return the candidate's wait status; the checker's while the candidate waits for its next request."""
        end = self.exits.get(0) or self.exits.get(self.deciding)
        return end.status if end else signal.SIGKILL

    def read(self, fd: int) -> bool:
        """Read the content of a pipe. Return False if it is empty."""
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        name = self.pipes[fd]
        buffer = self.buffers[name]
        if name in self.truncated:
            return bool(chunk)
        buffer += chunk
        cap = self._limits.cap(name)
        if len(buffer) > cap:
            del buffer[cap:]
            self.truncated.add(name)
        return bool(chunk)

    def drain(self) -> None:
        """Read the rest of the pipes after all writers have ended, and close them."""
        for fd, name in self.pipes.items():
            while name not in self.truncated and self.read(fd):
                pass
            os.close(fd)
