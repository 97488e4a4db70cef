"""Summarize many judgements for a table, in bounded memory."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from guerdon.errors import CheckFailedError, InfrastructureError
from guerdon.types import Failure, Judgement, Outcome, Score, total_usage

SLOWEST_SHOWN = 3

NO_ANSWER = "no_answer"
"""The ``outcome`` in the metadata of a score whose verifier found no answer in the completion."""


@dataclass(slots=True)
class Spread:
    """The mean, minimum and maximum of a stream of numbers."""

    count: int = 0
    total: float = 0.0
    low: float | None = None
    high: float | None = None

    def add(self, value: float) -> None:
        """Add a number."""
        self.count += 1
        self.total += value
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.high is None else max(self.high, value)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(slots=True)
class _Entry:
    values: Spread = field(default_factory=Spread)
    latency: Spread = field(default_factory=Spread)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    failures: Counter[Failure] = field(default_factory=Counter)
    usage: dict[str, float] = field(default_factory=dict)
    retried: int = 0
    saved: int = 0
    last_failure: Score | None = None
    unanswered: int = 0
    last_unanswered: str = ""
    slowest: list[tuple[float, str]] = field(default_factory=list)
    """A heap of the slowest verdicts."""


class Summary:
    """Collects judgements.

    Args:
        names: The rubric's entries.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._rewards = Spread()
        self._entries = {name: _Entry() for name in names}

    def add(self, where: str, judgement: Judgement) -> None:
        """Count a row."""
        if judgement.reward is not None:
            self._rewards.add(judgement.reward)
        for name, verdict in judgement.verdicts.items():
            entry, score = self._entries[name], verdict.score
            entry.outcomes[score.outcome] += 1
            entry.latency.add(verdict.latency_ms)
            entry.usage = total_usage([entry.usage, score.usage])
            entry.retried += verdict.tries > 1
            entry.saved += verdict.saved
            if score.value is not None:
                entry.values.add(score.value)
            if score.failure is not None:
                entry.failures[score.failure] += 1
                entry.last_failure = score
            if score.metadata.get("outcome") == NO_ANSWER:
                entry.unanswered += 1
                entry.last_unanswered = score.explanation
            keep = heapq.heappush if len(entry.slowest) < SLOWEST_SHOWN else heapq.heappushpop
            keep(entry.slowest, (verdict.latency_ms, where))

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each verifier, and one for the reward."""
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                **_spread(entry.values),
                "scored": entry.outcomes[Outcome.SCORED],
                "skipped": entry.outcomes[Outcome.SKIPPED],
                "failed": entry.outcomes[Outcome.FAILED],
                "mean ms": entry.latency.mean,
                "max ms": entry.latency.high,
            }
            for name, entry in self._entries.items()
        ]
        return [*rows, {"name": "reward", **_spread(self._rewards), "scored": self._rewards.count}]

    def remarks(self) -> list[str]:
        """Return what the table does not show: missing answers, the slowest verifier, and those that failed."""
        remarks = [
            f"no answer: '{name}' found none in {entry.unanswered} of {entry.outcomes.total()} completions, the last "
            f"time: {entry.last_unanswered}"
            for name, entry in self._entries.items()
            if entry.unanswered
        ]
        total = sum(entry.latency.total for entry in self._entries.values())
        name, slowest = max(self._entries.items(), key=lambda item: item[1].latency.total)
        if slowest.latency.total > 0:
            rows = ", ".join(f"{where} ({ms:.0f} ms)" for ms, where in sorted(slowest.slowest, reverse=True))
            remarks.append(
                f"slowest: '{name}', {slowest.latency.total / 1000:.1f} s, {slowest.latency.total / total:.0%} of the "
                f"time spent judging; its slowest rows: {rows}"
            )
        remarks += [
            f"used: '{name}', {', '.join(f'{amount:,.6g} {what}' for what, amount in entry.usage.items())}"
            for name, entry in self._entries.items()
            if entry.usage
        ]
        remarks += [
            f"retried: '{name}', {entry.retried} of {entry.outcomes.total()}; {entry.saved} then had a verdict"
            for name, entry in self._entries.items()
            if entry.retried
        ]
        failing = [(name, entry) for name, entry in self._entries.items() if entry.last_failure is not None]
        for name, entry in sorted(failing, key=lambda item: -item[1].failures.total()):
            assert entry.last_failure is not None
            kinds = ", ".join(f"{kind.value} {count}" for kind, count in entry.failures.most_common())
            remarks.append(
                f"failing: '{name}', {entry.failures.total()} of {entry.outcomes.total()} ({kinds}), the last time: "
                f"{entry.last_failure.explanation}"
            )
        return remarks

    def raise_if_nothing_was_judged(self) -> None:
        """Raise if a verifier failed on every row, because such a table has no result.

        Raises:
            InfrastructureError: The last failure was caused by an external service.
            CheckFailedError: It had another cause.
        """
        for name, entry in self._entries.items():
            failure = entry.last_failure
            if failure is not None and entry.outcomes[Outcome.FAILED] == entry.outcomes.total():
                outside = failure.failure is Failure.INFRASTRUCTURE
                raise (InfrastructureError if outside else CheckFailedError)(
                    f"'{name}' failed on every row, the last time: {failure.failure}: {failure.explanation}"
                )


def _spread(values: Spread) -> dict[str, float | None]:
    return {"mean": values.mean, "min": values.low, "max": values.high}
