"""The failure budget: the share of scores that may fail before the run stops."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable

from guerdon.errors import FailureBudgetError
from guerdon.types import Outcome, Score

WINDOW = 256
"""How many of a verifier's latest scores are counted, so that a late outage of a sandbox is noticed quickly."""

SMALLEST_BASE = 20
"""The smallest denominator of the share, so that one early failure does not stop a run."""


class FailureBudget:
    """Stops a run before it learns from the noise of failing verifiers. Usable from any thread.

    Args:
        share: The largest share of a verifier's latest scores that may fail, from 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._latest: dict[str, deque[bool]] = {}
        self._lock = threading.Lock()

    def spend(self, name: str, scores: Iterable[Score]) -> None:
        """Count a verifier's new scores.

        Raises:
            FailureBudgetError: At some point, more of the latest scores failed than the budget allows.
        """
        example: Score | None = None
        with self._lock:
            latest = self._latest.setdefault(name, deque(maxlen=WINDOW))
            for score in scores:
                failed = score.outcome is Outcome.FAILED
                latest.append(failed)
                example = score if failed else example
                # One call may add more scores than the window holds, so check after each failure. Skip the check while
                # the window is filling: a few early failures would look like a high rate.
                if failed and len(latest) == WINDOW:
                    self._check(name, latest, score)
            if example is not None:
                self._check(name, latest, example)

    def _check(self, name: str, latest: Collection[bool], example: Score) -> None:
        failures = sum(latest)
        if failures > self._share * max(len(latest), SMALLEST_BASE):
            raise FailureBudgetError(
                f"'{name}' failed on {failures} of its latest {len(latest)} completions, "
                f"more than the failure budget of {self._share:.0%}; the last time: {example.failure}: "
                f"{example.explanation}. Nothing was learned from this batch. "
                "Fix the cause and run again, or raise 'failure_budget' in the manifest."
            )
