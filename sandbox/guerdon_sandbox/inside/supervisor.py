"""PID 1 of a box: takes one job after the other from stdin, has it run, kills what is left of it, answers on stdout.

It runs as root of a container whose root has two capabilities, SETUID and SETGID. Jobs run as a uid that is used once.
The supervisor never runs a job's code and never forks: the zygote, a separate process that is exec'd fresh and only
ever receives file descriptors, does. So neither the next job nor the zygote holds anything of an earlier one.

It lives as long as its stdin. Everything in a container dies with its PID 1, so a host that is killed leaves no orphan.
It needs the standard library only.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.sweeping import as_user, read_file, reset_devices, share_memory, sweep, write_file
from guerdon_sandbox.inside.waiting import Waiting
from guerdon_sandbox.inside.wire import Answer, JobLimits, Limit, Request

IDLE_S = 900.0
"""Seconds without a request after which a box ends, because the host may have vanished without closing the
connection.
"""
REAP_S = 2.0
"""Seconds for killed processes to disappear before the box counts as dirty."""

# Names of the descriptors that each process of a job gets, in the order in which the zygote unpacks them.
STANDARD = ("payload", "stdin", "stdout", "stderr")
CHANNEL = ("inbox", "outbox")


class JobFaultError(Exception):
    """A job could not be started or watched, so nothing is known of it."""


def main(bootstrap: list[str]) -> None:
    """Serve until stdin closes.

    Args:
        bootstrap: The command line that starts the zygote, up to the number of its control descriptor.
    """
    # PID 1 ignores signals from inside for which it has no handler.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    share_memory()
    supervisor = _Supervisor(bootstrap)
    _write({"python": sys.version.split()[0]}, [])
    while True:
        answer, output = _answer(supervisor, *_read())
        _write(answer._asdict(), output)
        if answer.dirty:
            os._exit(3)


def _answer(
    supervisor: "_Supervisor", request: Request, blobs: "_Blobs"
) -> tuple[Answer, Sequence[bytes | bytearray]]:
    """Run one job. An error here is reported in the answer, and affects this box only."""
    try:
        return supervisor.run(request, blobs)
    except Exception as error:
        return Answer.killed(None, request, f"{type(error).__name__}: {error}"), []


class _Zygote:
    def __init__(self, bootstrap: list[str], *modules: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        self.socket = ours
        self.pid = os.posix_spawn(
            bootstrap[0],
            [*bootstrap, str(theirs.fileno()), *modules],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ],
        )
        theirs.close()
        if ours.recv(64) != b"ready":
            raise RuntimeError("the zygote did not start")

    def fork(self, processes: Sequence["_Process"], limits: JobLimits) -> None:
        """Start processes of a job, and close their descriptors here."""
        given = [fd for process in processes for fd in process.fds]
        told = [
            {"index": one.number, "role": one.role, "uid": one.uid, "fds": one.names} for one in processes
        ]
        self.socket.sendmsg(
            [json.dumps({"processes": told, "limits": limits}).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(given)}i", *given))],
        )
        for fd in given:
            os.close(fd)


class _Supervisor:
    def __init__(self, bootstrap: list[str]) -> None:
        self._bootstrap = bootstrap
        self._zygotes = {False: _Zygote(bootstrap)}
        """By whether they have imported numpy. That one is started for the first job that needs it."""
        self._uids = _fresh_uids()
        self._oom_kills = _oom_kills()

    def run(self, request: Request, blobs: "_Blobs") -> tuple[Answer, Sequence[bytes | bytearray]]:
        """Run one job to its end and remove everything that it leaves.

        Raises:
            Exception: Nothing is known of the job, and the box must not be used again.
        """
        limits = request.limits
        candidate, checker = next(self._uids), next(self._uids)
        job = _Job(request, candidate, checker, blobs)
        if request.files:
            with as_user(candidate):
                for path, content in zip(request.files, blobs.files, strict=True):
                    write_file(path, content, executable=path in request.executables)
        uids = {process.uid for process in job.processes}
        if True in request.numpy and True not in self._zygotes:
            self._zygotes[True] = _Zygote(self._bootstrap, "numpy")
        started = time.monotonic()
        waiting = Waiting(started, request.cpus)
        for numpy, zygote in self._zygotes.items():
            if processes := [one for one in job.processes if one.numpy == numpy]:
                zygote.fork(processes, limits)
        limit = self._watch(job, started, waiting, request)
        wall_s = time.monotonic() - started
        status = job.status()
        dirty = self._end(job)
        job.drain()
        collected: list[bytes | None] = []
        if request.collect:
            with as_user(candidate):
                collected = list(_collect(request.collect))
        dirty = dirty or sweep(sorted(uids))
        reset_devices()
        oom_kills = _oom_kills()
        if oom_kills != self._oom_kills:
            self._oom_kills, limit = oom_kills, limit or Limit.MEMORY
        missing = [path for path, content in zip(request.collect, collected, strict=True) if content is None]
        usage = job.exits.values()
        answer = Answer(
            status=status,
            limit=limit,
            truncated=sorted(job.truncated),
            wall_s=wall_s,
            waited_s=waiting.seconds,
            cpu_s=sum(end.cpu_s for end in usage),
            peak_kib=max((end.peak_kib for end in usage), default=0),
            dirty=dirty,
            missing=missing,
        )
        return answer, [*job.buffers.values(), *(content for content in collected if content is not None)]

    def _watch(self, job: "_Job", started: float, waiting: Waiting, request: Request) -> Limit | None:
        """Collect output until the job's deciding process ends. Return the limit that ended it, if one did.

        Time in which the job waited for a CPU, or the box was frozen, does not count, up to the patience. A job that
        waited longer was ``starved``: nothing is known of it.
        """
        limits, patience_s = request.limits, request.patience_s
        poller = select.poll()
        poller.register(0, select.POLLIN)
        zygotes = {zygote.socket.fileno(): zygote for zygote in self._zygotes.values()}
        for fd in zygotes:
            poller.register(fd, select.POLLIN)
        for fd in job.pipes:
            poller.register(fd, select.POLLIN)
        while True:
            for fd, _ in poller.poll(max(waiting.due - time.monotonic(), 0) * 1000):
                if fd == 0:
                    # Nothing else comes before the answer. The read ends if the host closes the connection.
                    _read_exactly(len(wire.ABORT))
                    return Limit.CANCELLED
                if fd in zygotes:
                    self._note_exit(job, zygotes[fd])
                elif not job.read(fd):
                    poller.unregister(fd)
            if job.truncated & job.bounded:
                return Limit.OUTPUT
            if job.deciding in job.exits:
                return None
            if time.monotonic() >= waiting.due:
                now = waiting.sample()
                excused_s = min(waiting.seconds, patience_s)
                if now >= started + limits.wall_s + excused_s:
                    return Limit.STARVED if waiting.seconds >= patience_s else Limit.WALL

    def _note_exit(self, job: "_Job", zygote: _Zygote) -> None:
        message = zygote.socket.recv(4096)
        if not message:
            raise JobFaultError("the zygote died")
        told = json.loads(message)
        if "error" in told:
            raise JobFaultError(f"a process of the job could not be prepared: {told['error']}")
        job.exits[told["index"]] = _End(told["status"], told["cpu_s"], told["peak_kib"])

    def _end(self, job: "_Job") -> str | None:
        """Kill every process of the job. Return why the box is dirty, if it is."""
        deadline = time.monotonic() + REAP_S
        if len(job.exits) < len(job.processes) or self._others():
            for uid in {process.uid for process in job.processes}:
                with as_user(uid), contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
        zygotes = {zygote.socket: zygote for zygote in self._zygotes.values()}
        while len(job.exits) < len(job.processes):
            readable, _, _ = select.select(zygotes, [], [], max(deadline - time.monotonic(), 0))
            if not readable:
                return "a process of the job cannot be killed"
            for one in readable:
                self._note_exit(job, zygotes[one])
        while self._others():
            if time.monotonic() > deadline:
                return "a process of the job cannot be killed"
            time.sleep(0.001)
        return None

    def _others(self) -> bool:
        """Return whether any process lives beside the supervisor and the zygote."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        own = {1, *(zygote.pid for zygote in self._zygotes.values())}
        with os.scandir("/proc") as entries:
            return any(entry.name.isdigit() and int(entry.name) not in own for entry in entries)


class _End(NamedTuple):
    """How a process ended."""

    status: int
    """Its wait status."""
    cpu_s: float
    peak_kib: int


class _Blobs(NamedTuple):
    """A request's blobs. The first two go to the job's processes as memory files, which the supervisor never reads."""

    payload: int
    given: int
    """The candidate's stdin, its calls, or the checker's payload."""
    files: list[bytes]


class _Process(NamedTuple):
    """The data of a job's process for the zygote."""

    number: int
    role: str
    uid: int
    names: Sequence[str]
    """The names of its descriptors."""
    fds: Sequence[int]
    numpy: bool


class _Job:
    """The processes of one job and their descriptors."""

    def __init__(self, request: Request, candidate: int, checker: int, blobs: _Blobs) -> None:
        self._numpy = request.numpy
        self.processes: list[_Process] = []
        self.pipes: dict[int, str] = {}
        """The read ends that the supervisor keeps, with the output's name."""
        self.buffers = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated: set[str] = set()
        self.bounded = {"stdout"} if request.kind == "program" else {"replies", "verdict"}
        """The outputs that end the job if they are too long. Others are truncated."""
        self.exits: dict[int, _End] = {}
        """By the process's index."""
        self.deciding = 0
        """The process whose end is the job's end."""
        self._limits = request.limits
        stdin = blobs.given if request.kind == "program" else _memory_file()
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
        self.processes.append(_Process(number, role, uid, names, fds, self._numpy[number]))

    def _output(self, name: str) -> int:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
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


def _collect(paths: Sequence[str]) -> Iterator[bytes | None]:
    left = wire.COLLECT_TOTAL_BYTES
    for path in paths:
        content = read_file(path, min(left, wire.COLLECT_BYTES))
        left -= len(content or b"")
        yield content


def _fresh_uids() -> Iterator[int]:
    """Yield uids that no other job on the host has, because RLIMIT_NPROC counts per uid across the host."""
    mapped = int(Path("/proc/self/uid_map").read_text().split()[2])
    low, high = (100_000, 2**31) if mapped > 2**31 else (1_000, mapped - 1)
    uid = low + int.from_bytes(os.urandom(8), "big") % (high - low)
    while True:
        yield uid
        uid = uid + 1 if uid + 1 < high else low


def _oom_kills() -> int:
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _read() -> tuple[Request, _Blobs]:
    size = 0
    while size == 0:  # an abort that came too late
        if not select.select([0], [], [], IDLE_S)[0]:
            os._exit(0)
        size = wire.header_size(_read_exactly(4))
    request, (payload, given, *files) = wire.decode_request(_read_exactly(size))
    return request, _Blobs(
        _memory_file(payload), _memory_file(given), [_read_exactly(file) for file in files]
    )


def _memory_file(size: int = 0) -> int:
    """Copy this many bytes of stdin into a file in memory."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    while size:
        chunk = _read_some(size)
        size -= len(chunk)
        _write_all(fd, chunk)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _read_exactly(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += _read_some(size - len(data))
    return bytes(data)


def _read_some(most: int) -> bytes:
    chunk = os.read(0, min(most, 1 << 20))
    if not chunk:
        os._exit(0)
    return chunk


def _write(header: dict[str, Any], blobs: Sequence[bytes | bytearray]) -> None:
    for part in (wire.encode(header, blobs), *blobs):
        _write_all(1, part)


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
