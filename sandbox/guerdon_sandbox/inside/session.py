"""PID 1 of a session's container: writes files, runs commands one after the other, and reads files.

Like the supervisor, it runs as root with SETUID and SETGID only. Everything of the session runs as one other uid, so
one signal ends all of it. It needs the standard library only.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.counters import CpuTime
from guerdon_sandbox.inside.kills import MemoryKills
from guerdon_sandbox.inside.stream import memory_file, output_pipe, read_exactly, write_answer
from guerdon_sandbox.inside.supervisor import REAP_S, fresh_uids
from guerdon_sandbox.inside.sweeping import as_user, read_below, reset_devices, share_memory, sweep
from guerdon_sandbox.inside.waiting import Waiting
from guerdon_sandbox.inside.wire import Limit

Answer = tuple[dict[str, Any], Sequence[bytes | bytearray]]

STATE_BYTES = 64 << 10
"""The largest state that a command leaves to the next, in bytes."""
DEEPEST = 60
"""The most folders in each other that a tree is read from."""
_CHUNKS = 64
"""The most chunks read at once, so that a command which writes without end still meets its deadline."""
MOST_PIPES = 200
"""The most commands whose processes in the background still hold their output."""

# The state is shell code: the exported variables, and the folder. It is the session's own, and runs as its user.
_SHELL = """
trap '__status=$?; { export -p; printf "cd -- %q\\n" "$PWD"; } >&3 2>/dev/null; exit $__status' EXIT
eval "$2"
eval "$1"
"""


def main(folders: Sequence[str], idle_s: float) -> None:
    """Serve until stdin closes, or nothing is asked for a long time.

    Args:
        folders: The absolute paths of all folders that may be written.
        idle_s: Seconds without a request after which the container ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    share_memory()
    session = _Session(folders, woken)
    write_answer({"python": sys.version.split()[0]}, [])
    while True:
        session.wait_for_request(idle_s)
        header = json.loads(read_exactly(wire.header_size(read_exactly(4))))
        blobs = [read_exactly(size) for size in header.pop("sizes")]
        try:
            answer, output = session.do(header, blobs)
        except Exception as error:
            answer, output = {"error": f"{type(error).__name__}: {error}"}, []
        write_answer(answer, output)


class _Session:
    def __init__(self, folders: Sequence[str], woken: int) -> None:
        self._folders = folders
        self._woken = woken
        """Readable after the end of a child."""
        self._uids = fresh_uids()
        self._uid = next(self._uids)
        self._memory_kills = MemoryKills()
        self._cpu_time = CpuTime()
        self._abandoned: set[int] = set()
        """Pipes of ended commands that processes in the background may still write to."""

    def do(self, request: dict[str, Any], blobs: Sequence[bytes]) -> Answer:
        """Do what a request asks for."""
        actions: Mapping[str, Callable[..., Answer]] = {
            "run": self.run,
            "write": self.write,
            "read": self.read,
            "tree": self.tree,
            "stop": self.stop,
            "reset": self.reset,
        }
        return actions[request.pop("do")](blobs, **request)

    def wait_for_request(self, idle_s: float) -> None:
        """Wait for the host. End with the host's connection, or after a long silence."""
        until = time.monotonic() + idle_s
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([0, self._woken, *self._abandoned], [], [], left)
            self._discard(readable)
            self._reap()
            if 0 in readable:
                return
        os._exit(0)

    def write(
        self, blobs: Sequence[bytes], folder: str, paths: list[str], executables: list[str], locked: bool
    ) -> Answer:
        """Write files and folders (whose paths end with a slash). Locked ones belong to root."""
        contents = iter(blobs)
        with as_user(0 if locked else self._uid):
            for path in paths:
                target = f"{folder}/{path}"
                if path.endswith("/"):
                    os.makedirs(target, exist_ok=True)  # noqa: PTH103
                else:
                    _write(target, next(contents), 0o755 if path in executables else 0o644)
        return {}, []

    def read(self, blobs: Sequence[bytes], folder: str, path: str, most: int) -> Answer:
        """Read one file."""
        with as_user(self._uid):
            content = read_below(os.fsencode(folder), path, most)
        return {"missing": content is None}, [content or b""]

    def tree(self, blobs: Sequence[bytes], folder: str, most: int, files: int) -> Answer:
        """Read all regular files and folders below a folder. Links, pipes and what is too much are left out."""
        with as_user(self._uid):
            entries, contents, left_out = _read_tree(os.fsencode(folder), most, files)
        return {"left_out": left_out}, [json.dumps(entries).encode(), *contents]

    def stop(self, blobs: Sequence[bytes]) -> Answer:
        """Kill all processes of the session."""
        self._kill_all()
        return {}, []

    def reset(self, blobs: Sequence[bytes]) -> Answer:
        """Kill all processes, empty the folders, and take another user."""
        self._kill_all()
        for folder in self._folders:
            if why := sweep([self._uid], os.fsencode(folder)):
                raise RuntimeError(why)
        reset_devices()
        self._uid = next(self._uids)
        return {}, []

    def run(
        self,
        blobs: Sequence[bytes],
        env: dict[str, str],
        folder: str,
        wall_s: float,
        patience_s: float,
        cpus: float,
        output_bytes: int,
        file_bytes: int,
        processes: int,
    ) -> Answer:
        """Run a command in a shell. Its blobs: the command, the state that the last one left, and stdin."""
        command, state, stdin = blobs
        self._memory_kills.end()  # a kill in the background, before this command, is not its limit
        read_end, write_end = output_pipe()
        given, left = memory_file(), memory_file()
        os.write(given, stdin)
        os.lseek(given, 0, os.SEEK_SET)
        arguments: list[str | bytes] = ["bash", "--noprofile", "--norc", "-c", _SHELL, "bash", command, state]
        started = time.monotonic()
        waiting = Waiting(started, cpus, self._cpu_time)
        pid = os.fork()
        if pid == 0:
            self._become(given, write_end, left, folder, file_bytes, processes, arguments, env)
        os.close(write_end)
        os.close(given)
        output = _Output(read_end, output_bytes)
        status, limit = self._watch(pid, output, started, waiting, wall_s, patience_s)
        if limit is not None:
            status = self._kill_command(pid, status)
        wall_s = time.monotonic() - started
        output.read()
        if output.ended:
            os.close(read_end)
        else:
            self._abandoned.add(read_end)
        if len(self._abandoned) > MOST_PIPES:
            self._kill_all()
        new = os.pread(left, STATE_BYTES + 1, 0)
        os.close(left)
        answer = {
            "status": status,
            "limit": limit or (Limit.MEMORY if self._memory_kills.end() else None),
            "truncated": output.truncated,
            "wall_s": wall_s,
            "waited_s": waiting.seconds,
        }
        return answer, [output.kept, new if 0 < len(new) <= STATE_BYTES else state]

    def _become(
        self,
        stdin: int,
        output: int,
        state: int,
        folder: str,
        file_bytes: int,
        processes: int,
        arguments: list[str | bytes],
        env: dict[str, str],
    ) -> NoReturn:
        """Become the shell of a command."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(stdin, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(state, 3)
            os.closerange(4, 1 << 10)
            with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
                file.write("1000")
            for kind, value in (
                (resource.RLIMIT_FSIZE, file_bytes),
                (resource.RLIMIT_NPROC, processes),
                (resource.RLIMIT_CORE, 0),
            ):
                resource.setrlimit(kind, (value, value))
            os.setgroups([])
            os.setresgid(self._uid, self._uid, self._uid)
            os.setresuid(self._uid, self._uid, self._uid)
            os.chdir(folder)
            os.execve("/bin/bash", arguments, env)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(126)

    def _watch(
        self,
        pid: int,
        output: "_Output",
        started: float,
        waiting: Waiting,
        wall_s: float,
        patience_s: float,
    ) -> tuple[int | None, Limit | None]:
        """Collect output until the shell ends. Return its wait status, or the limit that it reached."""
        while True:
            watched = [0, self._woken, *self._abandoned] + ([] if output.ended else [output.fd])
            readable, _, _ = select.select(watched, [], [], max(waiting.due - time.monotonic(), 0))
            if 0 in readable:
                os._exit(0)  # the host does not wait for this command
            if output.fd in readable:
                output.read()
            self._discard(readable)
            if (status := self._reap().get(pid)) is not None:
                return status, None
            if time.monotonic() >= waiting.due:
                now = waiting.sample()
                if now >= started + wall_s + min(waiting.seconds, patience_s):
                    return None, Limit.STARVED if waiting.seconds >= patience_s else Limit.WALL

    def _discard(self, readable: Sequence[int]) -> None:
        """Read and drop wake-ups, and the output of processes in the background."""
        for fd in readable:
            if fd == self._woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 1 << 10)
            elif fd in self._abandoned and not os.read(fd, 1 << 16):
                self._abandoned.discard(fd)
                os.close(fd)

    def _reap(self) -> dict[int, int]:
        """Return the wait statuses of the children that have ended."""
        ended = {}
        with contextlib.suppress(ChildProcessError):
            while (end := os.waitpid(-1, os.WNOHANG))[0] > 0:
                ended[end[0]] = end[1]
        return ended

    def _kill_command(self, leader: int, status: int | None) -> int:
        """Kill a command's processes, but not those that left its session. Return the shell's wait status."""
        deadline = time.monotonic() + REAP_S
        while members := list(_members(leader)):
            if time.monotonic() > deadline:
                self._kill_all()
                break
            with as_user(self._uid):
                for pid in members:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            status = self._reap().get(leader, status)
            time.sleep(0.001)
        return signal.SIGKILL if status is None else status

    def _kill_all(self) -> None:
        """Kill all processes of the session.

        Raises:
            RuntimeError: One of them stays.
        """
        deadline = time.monotonic() + REAP_S
        while True:
            with as_user(self._uid), contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            self._reap()
            if not any(name.isdigit() and name != "1" for name in os.listdir("/proc")):  # noqa: PTH208
                break
            if time.monotonic() > deadline:
                raise RuntimeError("a process of the session cannot be killed")
            time.sleep(0.001)
        for fd in self._abandoned:
            os.close(fd)
        self._abandoned.clear()


class _Output:
    """The first bytes of a command's output."""

    def __init__(self, fd: int, most: int) -> None:
        self.fd = fd
        self.kept = bytearray()
        self.truncated = False
        self.ended = False
        self._most = most

    def read(self) -> None:
        """Read what is there. What is too much is dropped, so that the command does not block."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_CHUNKS):
                chunk = os.read(self.fd, 1 << 16)
                if not chunk:
                    self.ended = True
                    return
                room = self._most - len(self.kept)
                self.kept += chunk[:room]
                self.truncated = self.truncated or len(chunk) > room


def _members(leader: int) -> Iterator[int]:
    """Yield the living processes of a session."""
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            rest = file.read().rpartition(b") ")[2]  # the process's name may be any bytes
            state, _, _, session, *_ = rest.split()
            if int(session) == leader and state not in (b"Z", b"X"):
                yield int(name)


def _write(target: str, content: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)


def _read_tree(folder: bytes, most: int, files: int) -> tuple[list[tuple[str, bool]], list[bytes], int]:
    """Return the entries, the files' contents, and the number of what is left out.

    An entry is a path, with a slash at the end of a folder's, and whether it is executable. No link is followed: each
    file is opened part by part.
    """
    entries: list[tuple[str, bool]] = []
    contents: list[bytes] = []
    left_out = 0
    pending: list[bytes] = [b""]
    while pending:
        inside = pending.pop()
        try:
            found = sorted(os.scandir(folder + b"/" + inside), key=lambda entry: entry.name)
        except OSError:
            left_out += 1
            continue
        for entry in found:
            path = inside + entry.name
            if len(entries) >= files:
                return entries, contents, left_out + 1
            if entry.is_dir(follow_symlinks=False):
                if path.count(b"/") < DEEPEST:
                    entries.append((os.fsdecode(path) + "/", False))
                    pending.append(path + b"/")
                else:
                    left_out += 1
                continue
            content = read_below(folder, os.fsdecode(path), min(most, wire.COLLECT_BYTES))
            if content is None:
                left_out += 1
                continue
            most -= len(content)
            executable = bool(entry.stat(follow_symlinks=False).st_mode & 0o100)
            entries.append((os.fsdecode(path), executable))
            contents.append(content)
    return entries, contents, left_out
