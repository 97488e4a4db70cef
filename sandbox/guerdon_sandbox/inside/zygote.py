"""A warmed interpreter that forks one fresh child per process of a job.

It receives file descriptors and numbers, never a job's code or data: a child's data is in a memory file that only the
child reads. So every child starts from the same clean state. It needs only the standard library.
"""

import array
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import socket
from collections.abc import Sequence
from typing import Any, NoReturn

from guerdon_sandbox.inside import interpreter, roles, sharing
from guerdon_sandbox.inside.wire import JobLimits

WORK = "/box"
MAX_DESCRIPTORS = 256
# fmt: off
PRELOADED = (
    "abc", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools",
    "heapq", "io", "itertools", "linecache", "math", "operator", "random", "re", "statistics", "string", "textwrap",
    "threading", "traceback", "types", "typing",
)
# fmt: on
"""What candidates import most. A module more here costs every fork its pages; a module less costs its import."""

_libc = ctypes.CDLL(None)
_PR_SET_DUMPABLE = 4


def main(control_fd: int, modules: Sequence[str]) -> None:
    """Fork the processes of jobs, one job at a time, and report each process's end.

    Args:
        control_fd: The socket to the supervisor.
        modules: Modules that children import in addition to the preloaded ones, if the image has them.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    control = socket.socket(fileno=control_fd)
    interpreter.open_streams()
    interpreter.bound_stacks()
    gc.collect()
    with contextlib.suppress(AttributeError):  # glibc's only
        _libc.malloc_trim(0)  # pages that imports and compilations left cost every fork and every exit
    sharing.share_objects()
    gc.freeze()
    control.send(b"ready")
    while True:
        request, fds = _receive(control)
        if not request:
            return
        processes, limits = request["processes"], JobLimits(*request["limits"])
        children = {}
        for process in processes:
            own = dict(zip(process["fds"], fds, strict=False))
            fds = fds[len(own) :]
            pid = os.fork()
            if pid == 0:
                _be(process, own, limits, control, fds)
            children[pid] = process["index"]
            for fd in own.values():
                os.close(fd)
        while children:
            pid, status, usage = os.wait4(-1, 0)
            if pid in children:
                end = {
                    "index": children.pop(pid),
                    "status": status,
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                    "peak_kib": usage.ru_maxrss,
                }
                control.send(json.dumps(end).encode())


def _receive(control: socket.socket) -> tuple[Any, list[int]]:
    fds = array.array("i")
    data, ancillary, _, _ = control.recvmsg(1 << 16, socket.CMSG_SPACE(16 * fds.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content)
    return (json.loads(data) if data else None), list(fds)


def _be(
    process: dict[str, Any], own: dict[str, int], limits: JobLimits, control: socket.socket, others: list[int]
) -> NoReturn:
    """Become a process of the job: prepare, then run its role. A failure before that is not the job's fault."""
    try:
        payload = _prepare(process, own, limits, others)
    except BaseException as error:
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    control.close()
    try:
        getattr(roles, process["role"])(payload, **own)
    finally:
        os._exit(1)  # a role ends the process itself, unless it raised


def _prepare(process: dict[str, Any], own: dict[str, int], limits: JobLimits, others: list[int]) -> Any:
    """Set up streams, limits, user and folder. Return the role's payload."""
    for fd in others:
        os.close(fd)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if name in own:
            os.dup2(own[name], fd)
            os.close(own.pop(name))
    with os.fdopen(own.pop("payload"), "rb") as file:
        payload = json.loads(file.read())
    os.setsid()
    adjustment = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(adjustment, b"1000")
    os.close(adjustment)
    _limit(limits)
    uid = process["uid"]
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.chdir(WORK)
    if process["role"] != "check":
        # Lets the candidate open its own /dev/stdin. Its uid is unique, so no other process can read its memory.
        _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    return payload


def _limit(limits: JobLimits) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        # The hard CPU limit kills a process that catches the soft limit's signal.
        hard = value + 1 if kind == resource.RLIMIT_CPU else value
        resource.setrlimit(kind, (value, hard))
