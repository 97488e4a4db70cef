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
from pathlib import Path
from typing import Any

from guerdon_sandbox.inside.waiting import Waiting

WORK = Path("/box")
IDLE_S = 900.0
"""A box that hears nothing for so long ends: the host may be gone without having closed the connection."""
REAP_S = 2.0
"""How long killed processes may take to disappear before the box counts as dirty."""
LOOK_S = 1.0
"""How often a job that runs long is asked how long it waited for a CPU."""
STEP_S = 0.02
"""Time between two looks at one that has used up its wall time."""
REPLY_BYTES = 16 << 20
"""Cap of a candidate's replies in one job."""
VERDICT_BYTES = 1 << 20
COLLECT_BYTES = 16 << 20
"""Largest file that is brought back."""

# Names of the descriptors that each process of a job gets, in the order in which the zygote unpacks them.
STANDARD = ("payload", "stdin", "stdout", "stderr")
CHANNEL = ("inbox", "outbox")


def main(bootstrap: list[str]) -> None:
    """Serve until stdin closes.

    Args:
        bootstrap: The command line that starts the zygote, up to the number of its control descriptor.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # what PID 1 has no handler for cannot be sent to it from inside
    supervisor = _Supervisor(bootstrap)
    _write({"python": sys.version.split()[0]}, [])
    while True:
        header, blobs = _read()
        answer, output = supervisor.run(header, blobs)
        _write(answer, output)
        if answer["dirty"]:
            os._exit(3)


class _Supervisor:
    def __init__(self, bootstrap: list[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        self._zygote = ours
        self._zygote_pid = os.posix_spawn(
            bootstrap[0],
            [*bootstrap, str(theirs.fileno())],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ],
        )
        theirs.close()
        if ours.recv(64) != b"ready":
            raise RuntimeError("the zygote did not start")
        self._uids = _fresh_uids()
        self._oom_kills = _oom_kills()

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """Run one job to its end and leave nothing of it behind.

        Args:
            header: ``kind`` (``program``, ``calls`` or ``check``), ``limits``, the paths of ``files``; the box's
                ``cpus``, and for how long, ``patience_s``, the job may wait for one.
            blobs: The candidate's payload; its stdin, its calls, or the checker's payload; then the files' contents.
        """
        limits = header["limits"]
        candidate, checker = next(self._uids), next(self._uids)
        job = _Job(header["kind"], candidate, checker, blobs)
        with _as_user(candidate):
            for path, content in zip(header["files"], blobs[2:], strict=True):
                _write_file(path, content, executable=path in header["executables"])
        uids = {process["uid"] for process in job.processes}
        waiting = Waiting(self._zygote_pid, uids, header["cpus"])
        started = time.monotonic()
        self._zygote.sendmsg(
            [json.dumps({"processes": job.processes, "limits": limits}).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(job.given)}i", *job.given))],
        )
        job.close_given()
        limit = self._watch(job, started, waiting, header["patience_s"], limits)
        wall_s = time.monotonic() - started
        dirty = self._end(job)
        job.drain(limits)
        with _as_user(candidate):
            collected = [_read_file(path) for path in header["collect"]]
        dirty = dirty or _sweep(candidate)
        oom_kills = _oom_kills()
        if oom_kills != self._oom_kills:
            self._oom_kills, limit = oom_kills, limit or "memory"
        answer = {
            "status": job.exits[0][0] if 0 in job.exits else signal.SIGKILL,
            "limit": limit,
            "truncated": sorted(job.truncated),
            "wall_s": wall_s,
            "waited_s": waiting.seconds,
            "cpu_s": sum(cpu_s for _, cpu_s, _ in job.exits.values()),
            "peak_kib": max((peak_kib for *_, peak_kib in job.exits.values()), default=0),
            "dirty": dirty,
            "missing": [
                path for path, content in zip(header["collect"], collected, strict=True) if content is None
            ],
        }
        return answer, [*job.outputs(), *(content for content in collected if content is not None)]

    def _watch(
        self, job: "_Job", started: float, waiting: Waiting, patience_s: float, limits: dict[str, Any]
    ) -> str | None:
        """Collect output until the job's deciding process ends. Returns the limit that ended it, if one did.

        Time for which the job waited for a CPU does not count, up to the patience. A job that waited for longer was
        ``starved``: nothing is known of it.
        """
        poller = select.poll()
        poller.register(0, select.POLLIN)
        poller.register(self._zygote, select.POLLIN)
        for fd in job.pipes:
            poller.register(fd, select.POLLIN)
        look, late = started + min(LOOK_S, limits["wall_s"]), False
        while job.deciding not in job.exits:
            now = time.monotonic()
            if now >= look:
                waiting.look()
                left = started + limits["wall_s"] + min(waiting.seconds, patience_s) - now
                if left <= 0 and waiting.seconds >= patience_s:
                    return "starved"
                # Two looks show whether a thread runs or still waits, for nobody knows how long.
                known = not waiting.standing or waiting.used_s >= limits["wall_s"]
                if left <= 0 and late and known:
                    return "wall"
                look, late = now + min(LOOK_S, max(left, STEP_S)), left <= 0
            for fd, _ in poller.poll(max(look - now, 0) * 1000):
                if fd == 0:
                    os._exit(0)  # the host hung up: it sends nothing before it has the answer
                elif fd == self._zygote.fileno():
                    self._note_exit(job)
                elif not job.read(fd, limits):
                    poller.unregister(fd)
            if job.truncated:
                return "output"
        return None

    def _note_exit(self, job: "_Job") -> None:
        message = self._zygote.recv(4096)
        if not message:
            raise RuntimeError("the zygote died")
        index, status, cpu_s, peak_kib = json.loads(message)
        job.exits[index] = (status, cpu_s, peak_kib)

    def _end(self, job: "_Job") -> str | None:
        """Kill every process of the job. Returns why the box is dirty, if it is."""
        deadline = time.monotonic() + REAP_S
        self._zygote.settimeout(REAP_S)
        try:
            if len(job.exits) < len(job.processes) or self._others():
                for uid in {process["uid"] for process in job.processes}:
                    with _as_user(uid), contextlib.suppress(ProcessLookupError):
                        os.kill(-1, signal.SIGKILL)
            while len(job.exits) < len(job.processes):
                self._note_exit(job)
        except TimeoutError:
            return "a process of the job cannot be killed"
        finally:
            self._zygote.settimeout(None)
        while self._others():
            if time.monotonic() > deadline:
                return "a process of the job cannot be killed"
            time.sleep(0.001)
        return None

    def _others(self) -> bool:
        """Whether any process lives beside the supervisor and the zygote."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        with os.scandir("/proc") as entries:
            return any(
                entry.name.isdigit() and int(entry.name) not in (1, self._zygote_pid) for entry in entries
            )


class _Job:
    """The processes of one job and their descriptors."""

    def __init__(self, kind: str, candidate: int, checker: int, blobs: list[bytes]) -> None:
        self.given: list[int] = []
        """Descriptors for the zygote, in the order of the processes' ``fds``."""
        self.processes: list[dict[str, Any]] = []
        self.pipes: dict[int, str] = {}
        """The read ends that the supervisor keeps, with the output's name."""
        self.buffers = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated: set[str] = set()
        self.exits: dict[int, tuple[int, float, int]] = {}
        """Wait status, CPU seconds and peak resident KiB by the process's index."""
        self.deciding = 0
        """The process whose end is the job's end."""
        payload, given = _memory_file(blobs[0]), blobs[1]
        stdin = given if kind == "program" else b""
        standard = [payload, _memory_file(stdin), self._output("stdout"), self._output("stderr")]
        if kind == "program":
            self._add("program", candidate, STANDARD, standard)
        elif kind == "calls":
            channel = [_memory_file(given), self._output("replies")]
            self._add("serve", candidate, STANDARD + CHANNEL, standard + channel)
        else:
            requests, replies = os.pipe(), os.pipe()
            self._add("serve", candidate, STANDARD + CHANNEL, [*standard, requests[0], replies[1]])
            fds = [_memory_file(given), replies[0], requests[1], self._output("verdict")]
            self._add("check", checker, ("payload", *CHANNEL, "verdict"), fds)
            self.deciding = 1

    def _add(self, role: str, uid: int, names: tuple[str, ...], fds: list[int]) -> None:
        self.processes.append({"role": role, "uid": uid, "fds": names})
        self.given += fds

    def _output(self, name: str) -> int:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        self.pipes[read_end] = name
        self.buffers[name] = bytearray()
        return write_end

    def close_given(self) -> None:
        for fd in self.given:
            os.close(fd)

    def read(self, fd: int, limits: dict[str, Any]) -> bool:
        """Take what the pipe holds. False when it holds nothing."""
        try:
            chunk = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        name = self.pipes[fd]
        buffer = self.buffers[name]
        buffer += chunk
        cap = _cap(name, limits)
        if len(buffer) > cap:
            del buffer[cap:]
            self.truncated.add(name)
        return bool(chunk)

    def drain(self, limits: dict[str, Any]) -> None:
        """Take what is left in the pipes once nobody writes any more, and close them."""
        for fd, name in self.pipes.items():
            while name not in self.truncated and self.read(fd, limits):
                pass
            os.close(fd)

    def outputs(self) -> list[bytes]:
        return [bytes(buffer) for buffer in self.buffers.values()]


def _cap(name: str, limits: dict[str, Any]) -> int:
    if name == "replies":
        return REPLY_BYTES
    return VERDICT_BYTES if name == "verdict" else int(limits[f"{name}_bytes"])


def _fresh_uids() -> Any:
    """Uids that no other job has, in this box or beside it: RLIMIT_NPROC counts per uid across the whole host."""
    mapped = int(Path("/proc/self/uid_map").read_text().split()[2])
    low, high = (100_000, 2**31) if mapped > 2**31 else (1_000, mapped - 1)
    uid = low + int.from_bytes(os.urandom(8), "big") % (high - low)
    while True:
        yield uid
        uid = uid + 1 if uid + 1 < high else low


@contextlib.contextmanager
def _as_user(uid: int) -> Any:
    """Act on files and processes as a job's user. Root here may not touch what that user forbids to others.

    The real uid changes too: signals are allowed by it, and ``kill(-1)`` as root would end the zygote.
    """
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _write_file(path: str, content: bytes, executable: bool) -> None:
    target = WORK / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(0o755 if executable else 0o644)


def _read_file(path: str) -> bytes | None:
    """A file that the job left, or None. It may be anything: a link, a device, a pipe, a terabyte of holes."""
    try:
        fd = os.open(WORK / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            content = file.read(COLLECT_BYTES + 1)
    except OSError:
        return None
    return content if content is not None and len(content) <= COLLECT_BYTES else None


def _sweep(uid: int) -> str | None:
    """Empty the work folder. Returns why the box is dirty, if something resists."""
    try:
        with _as_user(uid):
            _empty(WORK)
    except (OSError, RecursionError) as error:
        return f"the work folder cannot be emptied: {error}"
    return None


def _empty(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                path.chmod(0o700)
                _empty(path)
                path.rmdir()
            else:
                path.unlink()


def _oom_kills() -> int:
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _read() -> tuple[dict[str, Any], list[bytes]]:
    if not select.select([0], [], [], IDLE_S)[0]:
        os._exit(0)
    (size,) = struct.unpack(">I", _read_exactly(4))
    header = json.loads(_read_exactly(size))
    return header, [_read_exactly(length) for length in header["sizes"]]


def _read_exactly(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(0, min(size - len(data), 1 << 20))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data)


def _write(header: dict[str, Any], blobs: list[bytes]) -> None:
    encoded = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    view = memoryview(b"".join([struct.pack(">I", len(encoded)), encoded, *blobs]))
    while view:
        view = view[os.write(1, view) :]
