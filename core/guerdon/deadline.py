"""The time that an async verifier has for one verdict. It stops while the verifier waits for what other cases use."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Protocol, Self

__all__ = [
    "LONGEST_WAIT_S",
    "Clock",
    "Deadline",
    "current_deadline",
]

LONGEST_WAIT_S = 3600.0
"""How long one case may wait in all: what it waits for may have stopped for good."""


class Clock(Protocol):
    """What a verifier may do with its deadline."""

    def pause(self) -> None:
        """Stop the clock. Several pauses need as many calls of `resume`."""

    def resume(self, spent_s: float = 0.0) -> None:
        """Let the clock run again, with so many seconds less: of the pause, what was the case's own doing."""


class Deadline:
    """A context manager like `asyncio.timeout`, which is the current deadline of the code that it holds."""

    def __init__(self, timeout_s: float) -> None:
        """Set the time.

        Args:
            timeout_s: Seconds, pauses not counted.
        """
        self._left_s = timeout_s
        self._wait_left_s = LONGEST_WAIT_S
        self._pauses = 0
        self._timeout = asyncio.timeout(timeout_s)
        self._since = 0.0
        self._outer: Token[Deadline | None] | None = None

    @property
    def paused(self) -> bool:
        """Whether the clock is stopped."""
        return self._pauses > 0

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self._timeout.expired()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._since = asyncio.get_running_loop().time()
        self._outer = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._outer is not None
        _current.reset(self._outer)
        await self._timeout.__aexit__(kind, error, trace)

    def pause(self) -> None:
        """Stop the clock. Several pauses need as many calls of `resume`."""
        self._pauses += 1
        if self._pauses == 1:
            self._left_s -= self._lap()
            self._end_in(self._wait_left_s)

    def resume(self, spent_s: float = 0.0) -> None:
        """Let the clock run again, with so many seconds less: of the pause, what was the case's own doing."""
        self._pauses -= 1
        self._left_s -= spent_s
        if self._pauses == 0:
            self._wait_left_s -= self._lap()
            self._end_in(self._left_s)

    def _lap(self) -> float:
        """Return the seconds since the clock last changed, and count from now on."""
        before, self._since = self._since, asyncio.get_running_loop().time()
        return self._since - before

    def _end_in(self, seconds: float) -> None:
        if self._timeout.when() is not None and not self.expired:
            self._timeout.reschedule(self._since + seconds)


class _NoDeadline:
    def pause(self) -> None:
        pass

    def resume(self, spent_s: float = 0.0) -> None:
        pass


_current: ContextVar[Deadline | None] = ContextVar("guerdon_deadline", default=None)


def current_deadline() -> Clock:
    """Return the deadline of the verdict that the calling code works on.

    A verifier that waits for something that other cases use pauses it meanwhile, so that they cannot use up its time.
    Outside of an async verifier's call the result does nothing.
    """
    return _current.get() or _NoDeadline()
