"""A warmed interpreter that forks one fresh child per process of a job.

It receives file descriptors and numbers, never a job's code or data: what a child needs lies in a memory file that only
the child reads. So every child starts from the same pristine state.
It needs the standard library only.
"""

import array
import ctypes
import gc
import importlib
import io
import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

from guerdon_sandbox.inside import roles

WORK = "/box"
MAX_DESCRIPTORS = 256
PRELOADED = (
    *(
        "abc",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
    ),
    *(
        "heapq",
        "io",
        "itertools",
        "linecache",
        "math",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
        "textwrap",
    ),
    *("threading", "traceback", "types", "typing"),
)
"""What candidates import most. A module more here costs every fork its pages; a module less costs its import."""

_libc = ctypes.CDLL(None)
_PR_SET_DUMPABLE = 4


def main(control_fd: int) -> None:
    """Fork the processes of one job after the other, and report each one's end.

    Args:
        control_fd: The socket to the supervisor.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    control = socket.socket(fileno=control_fd)
    _standard_streams()
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    while True:
        request, fds = _receive(control)
        if not request:
            return
        processes, limits = request["processes"], request["limits"]
        children = {}
        for index, process in enumerate(processes):
            own = dict(zip(process["fds"], fds, strict=False))
            fds = fds[len(own) :]
            pid = os.fork()
            if pid == 0:
                _become(process, own, limits, control, fds)
            children[pid] = index
            for fd in own.values():
                os.close(fd)
        while children:
            pid, status, usage = os.wait4(-1, 0)
            if pid in children:
                cpu_s = usage.ru_utime + usage.ru_stime
                control.send(json.dumps([children.pop(pid), status, cpu_s, usage.ru_maxrss]).encode())


def _receive(control: socket.socket) -> tuple[Any, list[int]]:
    fds = array.array("i")
    data, ancillary, _, _ = control.recvmsg(1 << 16, socket.CMSG_SPACE(16 * fds.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content)
    return (json.loads(data) if data else None), list(fds)


def _standard_streams() -> None:
    """Build the children's stdio objects once. Files of the kinds that the children get stand in meanwhile."""
    read_end, write_end = os.pipe()
    placeholders = (os.memfd_create("stdin"), write_end, write_end)
    saved = os.dup(2)
    for fd, placeholder in enumerate(placeholders):
        os.dup2(placeholder, fd)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedReader(io.FileIO(0, "r", closefd=False)), "utf-8", "surrogateescape"
    )
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "surrogateescape"
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    os.dup2(saved, 2)
    for fd in {saved, read_end, *placeholders}:
        os.close(fd)


def _become(
    process: dict[str, Any],
    own: dict[str, int],
    limits: dict[str, Any],
    control: socket.socket,
    others: list[int],
) -> None:
    """Turn the forked child into a process of the job. Does not return."""
    control.close()
    for fd in others:
        os.close(fd)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if name in own:
            os.dup2(own[name], fd)
            os.close(own.pop(name))
    with os.fdopen(own.pop("payload"), "rb") as file:
        payload = json.loads(file.read())
    os.setsid()
    Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(limits)
    uid = process["uid"]
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.chdir(WORK)
    if process["role"] != "check":
        # Lets the candidate open its own /dev/stdin. Its uid is its own, so nobody else's memory opens with it.
        _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    getattr(roles, process["role"])(payload, **own)
    os._exit(0)


def _limit(limits: dict[str, Any]) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        # The hard CPU limit kills what catches the soft one's signal.
        hard = value + 1 if kind == resource.RLIMIT_CPU else value
        resource.setrlimit(kind, (value, hard))
