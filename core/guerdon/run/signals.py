"""Turn termination signals into a request to stop the run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from guerdon.stage import Stop

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Handle SIGTERM, SIGINT and SIGHUP inside the block, in the main thread.

    A signal that is ignored, such as SIGHUP under ``nohup``, stays ignored. Forked processes, such as the workers of a
    data loader, get the default handling: the terminal's Ctrl-C reaches the run itself.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    owner = os.getpid()

    def handle(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:
            _end_fork(number)
            return
        if stop.is_deferred and not stop.requested and sys.stderr.isatty():
            # Do not write by sys.stderr: the signal may have interrupted a write to it.
            os.write(
                2,
                f"{signal.Signals(number).name}: stopping after this step. Once more stops at once.\n".encode(),
            )
        stop.request(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_fork(number: int) -> None:
    if number == signal.SIGINT:
        return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
