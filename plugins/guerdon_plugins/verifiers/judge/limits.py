"""What a judge's endpoint allows in a minute, and what its answers cost."""

from __future__ import annotations

import math
from asyncio import Lock, sleep
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from guerdon_plugins.shared.endpoint import Endpoint

_MINUTE_S = 60.0

_CHARACTERS_A_TOKEN = 4
"""An estimate, which the answer's own count replaces."""


@dataclass(frozen=True, slots=True)
class JudgeEndpoint(Endpoint):
    """A judge's endpoint, with its limits and prices."""

    max_retries: int = 3
    timeout_s: float = 120.0
    """Shorter than a verdict's deadline, so that an endpoint that hangs fails first."""
    requests_per_minute: int | None = None
    """The most requests that begin in any 60 seconds; ``None`` for no limit."""
    tokens_per_minute: int | None = None
    """The most tokens of questions and answers in any 60 seconds; ``None`` for no limit."""
    price: Mapping[str, float] | None = None
    """The price of a million tokens, ``{"input": 0.15, "output": 0.6}``, in any currency."""

    def __post_init__(self) -> None:
        Endpoint.__post_init__(self)
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
                raise ValueError(f"{name} is {limit!r}: give a whole number from 1, or leave it out.")
        if self.price is not None and not _is_price(self.price):
            raise ValueError(
                f"price is {self.price!r:.60}: give the price of a million tokens, {{input: 0.15, output: 0.6}}."
            )

    def usage(self, answer: Any) -> dict[str, float]:
        """Return what an answer consumed: one request, and its tokens and cost if the server counts tokens."""
        found = {"requests": 1.0}
        counts = getattr(answer, "usage", None)
        asked, written = (getattr(counts, name, None) for name in ("prompt_tokens", "completion_tokens"))
        if isinstance(asked, int) and isinstance(written, int):
            found |= {"input_tokens": float(asked), "output_tokens": float(written)}
            if self.price is not None:
                found["cost"] = (asked * self.price["input"] + written * self.price["output"]) / 1e6
        return found


def _is_price(price: Any) -> bool:
    return (
        isinstance(price, Mapping)
        and set(price) == {"input", "output"}
        and all(
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value >= 0
            for value in price.values()
        )
    )


@dataclass(slots=True)
class Admitted:
    """A request that began."""

    at: float
    """The monotonic clock's time in seconds."""
    tokens: int


@dataclass(slots=True)
class Limiter:
    """Admits requests in their order, so that no 60 seconds have more than the limits."""

    requests: int | None
    tokens: int | None
    _recent: deque[Admitted] = field(default_factory=deque)
    _turn: Lock = field(default_factory=Lock)

    async def admit(self, characters: int, longest_answer: int) -> Admitted:
        """Wait until a request may begin.

        Args:
            characters: The length of the question.
            longest_answer: The most tokens of the answer.

        Returns:
            What ``correct`` takes when the true number of tokens is known.
        """
        estimate = characters // _CHARACTERS_A_TOKEN + longest_answer
        async with self._turn:
            while (wait_s := self._wait_s(monotonic(), estimate)) > 0:
                await sleep(min(wait_s, 1.0))  # an answer may be shorter than its estimate
            admitted = Admitted(monotonic(), estimate)
            self._recent.append(admitted)
        return admitted

    def correct(self, admitted: Admitted, usage: Mapping[str, float]) -> None:
        """Replace the estimate of a request's tokens by the server's count, if there is one."""
        if "input_tokens" in usage:
            admitted.tokens = int(usage["input_tokens"] + usage["output_tokens"])

    def _wait_s(self, now: float, estimate: int) -> float:
        """Return the seconds until the oldest request no longer counts, or 0 if one more may begin now."""
        while self._recent and self._recent[0].at <= now - _MINUTE_S:
            self._recent.popleft()
        if not self._recent:  # a request above the limit alone begins too, because it would wait forever
            return 0.0
        full = self.requests is not None and len(self._recent) >= self.requests
        used = sum(one.tokens for one in self._recent)
        if not full and (self.tokens is None or used + estimate <= self.tokens):
            return 0.0
        return max(self._recent[0].at + _MINUTE_S - now, 0.001)
