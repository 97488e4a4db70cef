"""The deadline of an async verifier for one verdict. It pauses while the verifier waits for a shared resource."""

from __future__ import annotations

import math
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
"""The most seconds that one case may wait in all, because the awaited resource may have failed permanently."""


class Clock(Protocol):
    """The operations on its deadline that a verifier may use."""

    @property
    def left_s(self) -> float:
        """Return the seconds that are left, without pauses."""

    def pause(self) -> None:
        """Stop the clock. Each call needs one call of `resume`."""

    def resume(self, spent_s: float = 0.0) -> None:
        """Start the clock again.

        Args:
            spent_s: Seconds of the pause that the case used itself. They count against its time.
        """


class Deadline:
    """A context manager like `asyncio.timeout`. Inside the block it is the current deadline."""

    def __init__(self, timeout_s: float) -> None:
        """Create the deadline.

        Args:
            timeout_s: Seconds, without pauses.
        """
        import asyncio  # late: only async verifiers need it, and it is a fourth of the start of a process

        self._left_s = timeout_s
        self._wait_left_s = LONGEST_WAIT_S
        self._pauses = 0
        self._timeout = asyncio.timeout(timeout_s)
        self._since = 0.0
        self._outer: Token[Deadline | None] | None = None

    @property
    def left_s(self) -> float:
        """Return the seconds that are left, without pauses."""
        lap_s = 0.0 if self.paused else _now() - self._since
        return self._left_s - lap_s

    @property
    def paused(self) -> bool:
        """Return whether the clock is stopped."""
        return self._pauses > 0

    @property
    def expired(self) -> bool:
        """Return whether the time is over."""
        return self._timeout.expired()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._since = _now()
        self._outer = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._outer is not None
        _current.reset(self._outer)
        await self._timeout.__aexit__(kind, error, trace)

    def pause(self) -> None:
        """Stop the clock. Each call needs one call of `resume`."""
        self._pauses += 1
        if self._pauses == 1:
            self._left_s -= self._lap()
            self._end_in(self._wait_left_s)

    def resume(self, spent_s: float = 0.0) -> None:
        """Start the clock again.

        Args:
            spent_s: Seconds of the pause that the case used itself. They count against its time.
        """
        self._pauses -= 1
        self._left_s -= spent_s
        if self._pauses == 0:
            self._wait_left_s -= self._lap()
            self._end_in(self._left_s)

    def _lap(self) -> float:
        """Return the seconds since the last call, and start the next interval."""
        before, self._since = self._since, _now()
        return self._since - before

    def _end_in(self, seconds: float) -> None:
        if self._timeout.when() is not None and not self.expired:
            self._timeout.reschedule(self._since + seconds)


def _now() -> float:
    """Return the time of the running event loop."""
    import asyncio

    return asyncio.get_running_loop().time()


class _NoDeadline:
    left_s = math.inf

    def pause(self) -> None:
        pass

    def resume(self, spent_s: float = 0.0) -> None:
        pass


_current: ContextVar[Deadline | None] = ContextVar("guerdon_deadline", default=None)


def current_deadline() -> Clock:
    """Return the deadline of the verdict that the calling code works on.

    A verifier pauses it while it waits for a resource that other cases share, so that they cannot use up its time.
    Outside
    an async verifier's call, the returned clock does nothing.
    """
    return _current.get() or _NoDeadline()
