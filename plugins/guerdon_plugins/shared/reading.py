"""Read long completions in an async verifier without blocking its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from guerdon import current_deadline

T = TypeVar("T")
P = ParamSpec("P")

SMALL_CHARACTERS = 1 << 15
"""Shorter texts are read at once, because a hostile one takes some milliseconds."""

_reader = ThreadPoolExecutor(1, "guerdon-reading")
"""One thread, because the event loop would wait for each of several in turn."""


async def read(function: Callable[Concatenate[str, P], T], text: str, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return a function of a text. A long text is read in a thread, after those that wait already.

    Args:
        function: Any function that holds the interpreter for some milliseconds at most, like those of `guerdon.text`.
        text: A completion, or another text of any length.
        args: The function's other arguments.
        kwargs: Those by name.
    """
    if len(text) <= SMALL_CHARACTERS:
        return function(text, *args, **kwargs)

    def timed() -> tuple[T, float]:
        started = time.thread_time()
        return function(text, *args, **kwargs), time.thread_time() - started

    clock, spent_s = current_deadline(), 0.0
    clock.pause()
    try:
        result, spent_s = await asyncio.get_running_loop().run_in_executor(_reader, timed)
    finally:
        clock.resume(spent_s)
    return result
