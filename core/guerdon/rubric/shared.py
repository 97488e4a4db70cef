"""Share one rubric among many concurrent callers: a trainer's threads and event loops, or a server's requests.

A rubric judges one batch at a time. Calls that arrive meanwhile wait and form the next batch. So many small calls
keep all workers busy, and an async verifier gets many completions at once.
"""

from __future__ import annotations

import operator
import threading
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from guerdon.plugins.discovery import Kind
from guerdon.rubric.rubric import Rubric, fingerprint, require_rollouts
from guerdon.types import Judgements, Rollout

MAX_BATCH_ROLLOUTS = 512
"""Calls are merged up to this many rollouts; a larger call stays whole."""


@dataclass(slots=True)
class _Call:
    rollouts: Sequence[Rollout]
    step: int
    groups: Sequence[Hashable] | None
    names: frozenset[str] | None
    early: bool
    judgements: Future[Judgements] = field(default_factory=Future)


class SharedRubric:
    """Judges the rollouts of many callers in its own thread. Usable from any thread.

    An error affects only the call that caused it, even if calls were merged. Calls are not merged if the rubric has
    reward functions, because such a function sees its whole batch.

    Args:
        rubric: The rubric. It is closed with this object.
    """

    def __init__(self, rubric: Rubric) -> None:
        self._rubric = rubric
        self._mergeable = all(entry.component.kind is not Kind.REWARD for entry in rubric.entries)
        self._fingerprint = fingerprint(rubric.entries)
        self._calls: deque[_Call] = deque()
        self._pending = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="guerdon-rubric", daemon=True)
        self._thread.start()

    @property
    def names(self) -> list[str]:
        """Return the entries' names."""
        return self._rubric.names

    @property
    def fingerprint(self) -> str:
        """Return the rubric's fingerprint."""
        return self._fingerprint

    @property
    def compares_groups(self) -> bool:
        """Return whether an entry is a group reward, so that callers must name groups."""
        return self._rubric.compares_groups

    @property
    def compares_completions(self) -> bool:
        """Return whether an entry is a group reward or a reward function, which may compare completions."""
        return self.compares_groups or not self._mergeable

    @property
    def pending(self) -> int:
        """Return the number of rollouts that wait or are being judged."""
        return self._pending

    def check(self, rollout: Rollout) -> None:
        """Check that a rollout has the columns that its entries need, as :meth:`Rubric.check` does."""
        self._rubric.check(rollout)

    def submit(
        self,
        rollouts: Sequence[Rollout],
        step: int = 0,
        groups: Sequence[Hashable] | None = None,
        names: Collection[str] | None = None,
        early: bool = False,
    ) -> Future[Judgements]:
        """Submit rollouts. The future holds their judgements in order, or the error of :meth:`Rubric.score`.

        Raises:
            UsageError: The rollouts are not a list of ``Rollout``.
            TypeError: The step is not a whole number.
            ValueError: This is closed.
        """
        require_rollouts(rollouts)
        wanted = None if names is None else frozenset(names)
        call = _Call(rollouts, operator.index(step), groups, wanted, early)
        with self._changed:
            if self._closed:
                raise ValueError("the rubric is closed")
            self._calls.append(call)
            self._pending += len(rollouts)
            self._changed.notify()
        return call.judgements

    def score(
        self,
        rollouts: Sequence[Rollout],
        step: int = 0,
        groups: Sequence[Hashable] | None = None,
        names: Collection[str] | None = None,
        early: bool = False,
    ) -> Judgements:
        """Judge rollouts and wait for the result, as :meth:`Rubric.score` does."""
        return self.submit(rollouts, step, groups, names, early).result()

    def stop(self) -> None:
        """Judge all submitted rollouts, then end the thread. The rubric stays open."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def close(self) -> None:
        """Judge all submitted rollouts, then stop the workers."""
        self.stop()
        self._rubric.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while calls := self._next_batch():
            wanted = []
            for call in calls:
                if call.judgements.set_running_or_notify_cancel():
                    wanted.append(call)
                else:
                    self._count_done(call)
            if wanted:
                self._judge(wanted)

    def _count_done(self, call: _Call) -> None:
        """Decrement the pending count before resolving the future.

        So a caller that waits for capacity sees the freed slots.
        """
        with self._changed:
            self._pending -= len(call.rollouts)

    def _next_batch(self) -> list[_Call]:
        """Return the calls to judge together next. Empty when this is closed and all calls are judged."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closed)
            batch: list[_Call] = []
            size = 0
            while self._calls and (not batch or self._fits(self._calls[0], batch[0], size)):
                call = self._calls.popleft()
                batch.append(call)
                size += len(call.rollouts)
            return batch

    def _fits(self, call: _Call, first: _Call, size: int) -> bool:
        alike = (call.step, call.names, call.early) == (first.step, first.names, first.early)
        alike &= (call.groups is None) == (first.groups is None)
        return self._mergeable and alike and size + len(call.rollouts) <= MAX_BATCH_ROLLOUTS

    def _judge(self, calls: Sequence[_Call]) -> None:
        try:
            rollouts = [rollout for call in calls for rollout in call.rollouts]
            judgements = self._rubric.score(
                rollouts,
                calls[0].step,
                names=calls[0].names,
                groups=_groups(calls),
                early=calls[0].early,
            )
        except (
            BaseException
        ) as error:  # any error belongs to a caller, and without this thread all would wait
            if len(calls) == 1:
                self._count_done(calls[0])
                calls[0].judgements.set_exception(error)
            else:  # judge each call alone to find the one at fault; cached scores are reused
                for call in calls:
                    self._judge([call])
            return
        start = 0
        for call in calls:
            end = start + len(call.rollouts)
            self._count_done(call)
            call.judgements.set_result(Judgements(judgements[start:end], judgements.metrics))
            start = end


def _groups(calls: Sequence[_Call]) -> list[Hashable] | None:
    """Return the groups of all calls, which no two calls share, or ``None`` if a call does not know its groups."""
    if any(call.groups is None for call in calls):
        return None
    return [(number, group) for number, call in enumerate(calls) for group in call.groups or ()]
