"""Split the items of one rubric entry into jobs for the workers that it uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from guerdon.plugins.component import Component
from guerdon.plugins.signatures import is_async
from guerdon.scoring.jobs import VerifyJob
from guerdon.scoring.pool import Pool
from guerdon.scoring.protocol import GroupItem, Item
from guerdon.types import Score

__all__ = ["Dispatch"]

MAX_CASES_A_JOB = 32
"""Small enough to spread a batch over the workers, large enough to hide the round trip of about 30 us."""

_Item = TypeVar("_Item")


class Dispatch:
    """Makes the jobs of one verifier or group reward."""

    def __init__(
        self, index: int, component: Component, timeout_s: float | None, default_s: float, pool: Pool
    ) -> None:
        """Note which workers the component uses.

        Args:
            index: The entry's number in the rubric.
            component: The verifier or group reward.
            timeout_s: The entry's deadline in seconds; by default the plugin's own.
            default_s: The deadline of a plugin that has none.
            pool: The workers.
        """
        loaded = component.loaded
        self._index = index
        self._concurrent = is_async(loaded.__call__ if isinstance(loaded, type) else loaded)
        self._dedicated = self._concurrent or component.member("max_workers") is not None
        self._timeout_s = timeout_s or float(component.member("timeout_s", default_s))
        self._pool = pool

    def portions(self, items: Sequence[_Item]) -> list[Sequence[_Item]]:
        """Return items in portions: one for each worker that runs its cases concurrently, else small ones."""
        workers = self._pool.lane_workers(self._index) if self._dedicated else self._pool.shared_workers
        size = math.ceil(len(items) / (workers if self._concurrent else 2 * workers)) or 1
        size = size if self._concurrent else min(MAX_CASES_A_JOB, size)
        return [items[start : start + size] for start in range(0, len(items), size)]

    def job(
        self,
        items: Sequence[Item | GroupItem],
        arrived: Callable[[int, Score | Sequence[Score], float], None],
    ) -> VerifyJob:
        """Return the job of one portion.

        Args:
            items: What is judged.
            arrived: Takes each item's index, score and latency in milliseconds when it arrives.
        """
        return VerifyJob(self._index, items, self._timeout_s, self._dedicated, arrived=arrived)
