"""The jobs of a pool: what is to be judged, and the scores that came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guerdon.scoring.protocol import (
    MAX_CONCURRENT_CALLS,
    GroupItem,
    Item,
    Rewarded,
    RewardTask,
    Scored,
    VerifyTask,
)
from guerdon.types import Failure, Score

__all__ = ["MAX_LOSSES", "Job", "RewardJob", "VerifyJob"]

MAX_LOSSES = 16
"""The most workers that one batch may lose before no case is sent again.

The remaining cases of an async verifier then fail. One case at fault costs at most eight workers. A verifier that
always hangs must not cost hours.
"""


@dataclass(slots=True)
class VerifyJob:
    """Cases for one verifier or group reward. ``results`` is filled in the order of the cases."""

    component: int
    cases: Sequence[Item | GroupItem]
    timeout_s: float
    dedicated: bool = False
    """Whether the component has its own workers. An async verifier has one, which runs all its calls concurrently. A
    verifier that limits its copies has ``max_workers``.
    """
    arrived: Callable[[int, Score | Sequence[Score], float], None] | None = None
    """Takes the index, the score and the latency in milliseconds of each case when it arrives, so that a kill during
    the batch loses no finished case.
    """
    results: list[tuple[Score | Sequence[Score], float] | None] = field(default_factory=list)
    """Score and latency in milliseconds. A group has a score for each completion, or one failure for all."""
    _tasks: list[list[int]] = field(default_factory=list)
    """The unjudged cases, by index, in the portions in which they are sent. The next portion is last."""
    _losses: int = 0
    _suspects: set[int] = field(default_factory=set)
    """The cases whose worker died once, which may have had another cause."""

    def __post_init__(self) -> None:
        self.results = [None] * len(self.cases)
        self._tasks = [list(range(len(self.cases)))]

    @property
    def done(self) -> bool:
        return not self._tasks

    def task(self) -> VerifyTask:
        return VerifyTask(self.component, [self.cases[index] for index in self._tasks[-1]], self.timeout_s)

    def receive(self, message: Scored | Rewarded) -> bool:
        """Record an answer. Return whether the task is done."""
        assert isinstance(message, Scored)
        index = self._tasks[-1][message.index]
        self.results[index] = message.score, message.latency_ms
        if self.arrived is not None:
            self.arrived(index, message.score, message.latency_ms)
        if any(self.results[index] is None for index in self._tasks[-1]):
            return False
        self._tasks.pop()
        return True

    def interrupt(self) -> None:
        """Account for a machine that was lost through no fault of the cases: the unjudged ones are sent again."""
        self._tasks[-1] = [index for index in self._tasks[-1] if self.results[index] is None]

    def lose(self, score: Score, latency_ms: float, concurrent: bool) -> None:
        """Account for a lost worker: the case at fault gets ``score``, the others are sent again.

        If cases ran one by one, the current case is at fault. If they ran concurrently, the case at fault is unknown.
        They are then sent again in halves, until one case loses its worker alone. A case whose worker died is sent
        once more, because something else may have killed the worker: the system out of memory, or an operator.
        """
        self._losses += 1
        lost = [index for index in self._tasks.pop() if self.results[index] is None]
        if concurrent and len(lost) > 1 and self._losses < MAX_LOSSES:
            suspects, others = lost[:MAX_CONCURRENT_CALLS], lost[MAX_CONCURRENT_CALLS:]
            half = (len(suspects) + 1) // 2
            self._tasks += filter(None, [others, suspects[half:], suspects[:half]])
            return
        blamed = lost if concurrent else lost[:1]
        if (
            score.failure is Failure.VERIFIER
            and self._losses < MAX_LOSSES
            and not self._suspects.issuperset(blamed)
        ):
            self._suspects.update(blamed)
            self._tasks.append(lost)
            return
        for index in blamed:
            self.results[index] = score, latency_ms
        if rest := lost[len(blamed) :]:
            self._tasks.append(rest)


@dataclass(slots=True)
class RewardJob:
    """A batch for one reward function."""

    component: int
    batch: RewardTask
    timeout_s: float
    dedicated: bool = True
    answer: Rewarded | None = None
    _suspected: bool = False

    @property
    def done(self) -> bool:
        return self.answer is not None

    def task(self) -> RewardTask:
        return self.batch

    def receive(self, message: Scored | Rewarded) -> bool:
        """Record the answer, which ends the task."""
        assert isinstance(message, Rewarded)
        self.answer = message
        return True

    def interrupt(self) -> None:
        """Account for a lost machine: the call is made again."""

    def lose(self, score: Score, latency_ms: float, concurrent: bool) -> None:
        """Account for a lost worker. After its death, which may have had another cause, the call is made once more."""
        if score.failure is Failure.VERIFIER and not self._suspected:
            self._suspected = True
            return
        self.answer = Rewarded([score] * len(self.batch.completions), latency_ms, {}, {})


Job = VerifyJob | RewardJob
