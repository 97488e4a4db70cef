"""A deadline stops while it is paused, and only then."""

from __future__ import annotations

import asyncio

import pytest

from guerdon import current_deadline, deadline
from guerdon.deadline import Deadline


def test_deadline_that_is_paused_does_not_expire() -> None:
    async def work() -> None:
        async with Deadline(0.2) as clock:
            current_deadline().pause()
            assert clock.paused
            await asyncio.sleep(0.4)
            current_deadline().resume()
        assert not clock.expired

    asyncio.run(work())


def test_deadline_that_was_resumed_expires() -> None:
    async def work() -> None:
        async with Deadline(0.2) as clock:
            clock.pause()
            clock.resume()
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        asyncio.run(work())


def test_deadline_is_charged_with_what_was_spent_in_a_pause() -> None:
    async def work() -> None:
        async with Deadline(60.0) as clock:
            clock.pause()
            clock.resume(spent_s=61.0)
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        asyncio.run(work())


def test_deadline_with_two_pauses_needs_two_resumes() -> None:
    async def work() -> None:
        async with Deadline(9.0) as clock:
            clock.pause()
            clock.pause()
            clock.resume()
            assert clock.paused
            clock.resume()
            assert not clock.paused

    asyncio.run(work())


def test_deadline_that_waits_for_ever_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "LONGEST_WAIT_S", 0.1)

    async def work() -> None:
        async with Deadline(9.0) as clock:
            clock.pause()
            await asyncio.sleep(9)

    with pytest.raises(TimeoutError):
        asyncio.run(work())


def test_current_deadline_outside_of_one_does_nothing() -> None:
    current_deadline().pause()
    current_deadline().resume()


def test_current_deadline_is_each_tasks_own() -> None:
    async def own() -> object:
        async with Deadline(9.0) as clock:
            await asyncio.sleep(0)
            assert current_deadline() is clock
            return clock

    async def work() -> None:
        first, second = await asyncio.gather(own(), own())
        assert first is not second

    asyncio.run(work())
