"""Make a forked child behave like a fresh ``python main.py``: its streams at the start, its buffers at the end.

It needs only the standard library.
"""

import _thread
import atexit
import contextlib
import gc
import io
import os
import resource
import sys
import threading
import types
from typing import Any, NoReturn

_STACK_SHARE = 4
"""A thread's stack takes at most this part of the memory limit, because reserved stack counts in full."""


def open_streams() -> None:
    """Build stdin, stdout and stderr once for all children, on placeholder files of the same kinds."""
    read_end, write_end = os.pipe()
    placeholders = (os.memfd_create("stdin"), write_end, write_end)
    saved = os.dup(2)
    for fd, placeholder in enumerate(placeholders):
        os.dup2(placeholder, fd)
    sys.stdin = sys.__stdin__ = _stream(0, "r", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace")  # type: ignore[misc]
    os.dup2(saved, 2)
    for fd in {saved, read_end, *placeholders}:
        os.close(fd)


def _stream(fd: int, mode: str, errors: str) -> io.TextIOWrapper:
    """Return a standard stream as CPython's ``create_stdio`` builds it for a file that is not a terminal."""
    raw = io.FileIO(fd, mode, closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[fd]
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=fd == 2)
    stream.mode = mode  # type: ignore[misc]
    return stream


def bound_stacks() -> None:
    """Limit `threading.stack_size` to what the memory limit allows.

    Programs request half a gigabyte for deep recursion, and use little of it.
    """
    original = _thread.stack_size

    def stack_size(size: int = 0, /) -> int:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        bound = limit // _STACK_SHARE if limit != resource.RLIM_INFINITY else size
        # The size must be whole pages, and at least 32 KiB.
        return original(size if size <= bound else max(bound & ~4095, 1 << 15))

    _thread.stack_size = threading.stack_size = stack_size


def own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return the part of a traceback that is the program's own."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("guerdon_sandbox."):
        trace = trace.tb_next
    return trace


def leave(code: int) -> NoReturn:
    """End the process as an interpreter would: join threads, run atexit, flush every buffer.

    A real exit would copy the pages of all modules, which the job shares with the zygote until it writes to them.
    """
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    try:
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except BaseException:
        code = code or 120
    _flush(sys.stderr)
    with contextlib.suppress(BaseException):
        _let_go()
    os._exit(code)


def _let_go() -> None:
    """Release the program's objects in CPython's order, and write the contents of buffers."""
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    main = sys.modules.get("__main__")
    if main is not None:
        names = main.__dict__
        for private in (True, False):
            for name in list(names):
                if name != "__builtins__" and private == (name[:1] == "_" and name[1:2] != "_"):
                    names[name] = None
    # The zygote's objects are frozen, so these are the program's own.
    writers = [one for one in gc.get_objects() if isinstance(one, io.TextIOWrapper | io.BufferedWriter)]
    for kind in (io.TextIOWrapper, io.BufferedWriter):
        for writer in writers:
            if isinstance(writer, kind):
                _flush(writer)
    _flush(sys.__stdout__)
    _flush(sys.__stderr__)


def _flush(stream: Any) -> None:
    with contextlib.suppress(BaseException):
        stream.flush()
