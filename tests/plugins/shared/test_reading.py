"""Long completions are read beside the event loop, short ones in it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from guerdon.deadline import Deadline
from guerdon_plugins.shared.reading import SMALL_CHARACTERS, read


def thread_of(_: str) -> str:
    return threading.current_thread().name


def run_read(text: str) -> str:
    return asyncio.run(read(thread_of, text))


def test_read_of_a_short_text_calls_the_function_here() -> None:
    assert run_read("a" * SMALL_CHARACTERS) == threading.current_thread().name


def test_read_of_a_long_text_calls_the_function_in_the_one_reading_thread() -> None:
    name = run_read("a" * (SMALL_CHARACTERS + 1))
    assert name.startswith("guerdon-reading")
    assert run_read("a" * (SMALL_CHARACTERS + 1)) == name


def test_read_of_a_long_text_pauses_the_deadline_and_lets_others_run() -> None:
    async def work() -> None:
        free = threading.Event()
        async with Deadline(60.0) as deadline:
            reading = asyncio.create_task(read(lambda text: free.wait(30), "a" * (SMALL_CHARACTERS + 1)))
            await asyncio.sleep(0)
            assert deadline.paused
            free.set()
            assert await reading
            assert not deadline.paused

    asyncio.run(work())


def test_read_raises_what_the_function_raises() -> None:
    with pytest.raises(ValueError, match="no"):
        asyncio.run(read(int, "no" * SMALL_CHARACTERS))
