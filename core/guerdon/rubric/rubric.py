"""Rubrics: named, weighted verifiers and rewards that give each rollout one reward."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from guerdon.data.columns import matches
from guerdon.data.references import plain_columns
from guerdon.errors import DataError, FailureBudgetError, UsageError
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.scoring.budget import FailureBudget
from guerdon.scoring.cache import ScoreCache
from guerdon.scoring.entries import RewardScorer, Scorer, VerifierScorer
from guerdon.scoring.pool import WorkerPool
from guerdon.types import Failure, Judgement, Judgements, OnFailure, Outcome, Rollout, Score, Verdict

__all__ = ["MAX_CACHED_SCORES", "Entry", "OnFailure", "Rubric", "Weight"]

Weight = float | Mapping[int, float]
"""A number, or a schedule: weights at steps, linear in between, constant before the first and after the last."""

MAX_CACHED_SCORES = 200_000
"""The most scores that a rubric keeps in memory: about 100 MB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One verifier or reward of a rubric."""

    name: str
    component: Component
    weight: Weight = 1.0
    when: Mapping[str, Any] = field(default_factory=dict)
    """The rollouts it judges, by column: each must equal the value, or be one of a list's. All, if empty."""
    on_failure: OnFailure = OnFailure.SKIP
    timeout_s: float | None = None
    """The deadline of one verdict (for a reward: of one call); by default the plugin's own ``timeout_s``, else 10 s for
    a verifier and 300 s for a reward."""

    def weight_at(self, step: int) -> float:
        """Return the weight at a training step; a schedule is linear between its steps."""
        if not isinstance(self.weight, Mapping):
            return self.weight
        steps = sorted(self.weight)
        after = bisect_right(steps, step)
        if after == 0:
            return self.weight[steps[0]]
        if after == len(steps):
            return self.weight[steps[-1]]
        start, end = steps[after - 1], steps[after]
        share = (step - start) / (end - start)
        return (1 - share) * self.weight[start] + share * self.weight[end]

    @property
    def is_metric(self) -> bool:
        """Return whether the weight is 0 at every step: the entry is logged and never counts."""
        return not any(self.weight.values() if isinstance(self.weight, Mapping) else (self.weight,))

    def applies_to(self, columns: Mapping[str, Any]) -> bool:
        """Return whether a rollout with these columns is routed to this entry."""
        return matches(self.when, columns)


class Rubric:
    """Scores rollouts. Holds worker processes: use it as a context manager, or close it.

    Args:
        entries: The verifiers and rewards; names must be unique.
        cache: Keeps known scores; the caller closes it. By default the latest ones are kept in memory.
        failure_budget: The share of failed scores (0 to 1) above which scoring raises; ``None`` for no limit.
        workers: How many processes share the sync verifiers; by default one per usable CPU.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        cache: ScoreCache | None = None,
        failure_budget: float | None = None,
        workers: int | None = None,
    ) -> None:
        names = [entry.name for entry in entries]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise UsageError(
                f"several rewards are named {', '.join(sorted(repeated))}. Give each a 'name' of its own."
            )
        self._entries = list(entries)
        self._cache = ScoreCache(max_scores=MAX_CACHED_SCORES) if cache is None else cache
        self._owns_cache = cache is None
        self._budget = FailureBudget(failure_budget) if failure_budget is not None else None
        self._pool = WorkerPool([entry.component for entry in entries], workers)
        self._judges = [_scorer(index, entry, self._cache, self._pool) for index, entry in enumerate(entries)]

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self._entries]

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    def weights(self, step: int) -> dict[str, float]:
        """Return every entry's weight at a training step."""
        return {entry.name: entry.weight_at(step) for entry in self._entries}

    def check(self, rollout: Rollout) -> None:
        """Check that a rollout has the columns that its entries need.

        Raises:
            DataError: It lacks one.
        """
        rollout = _plain(rollout)
        for entry, judge in zip(self._entries, self._judges, strict=True):
            if entry.applies_to(rollout.columns):
                judge.require(rollout)

    def score(
        self, rollouts: Sequence[Rollout], step: int = 0, *, names: Collection[str] | None = None
    ) -> Judgements:
        """Judge rollouts. The result has one judgement for each, in the same order.

        Args:
            rollouts: The rollouts to judge.
            step: The training step, for weight schedules.
            names: The entries that judge; by default all.

        Raises:
            DataError: A rollout lacks a column that a verifier needs.
            CheckFailedError: A reward is not a finite number.
            FailureBudgetError: Too many scores failed, or one with ``on_failure: abort``.
            PluginLoadError: A plugin cannot be built.
        """
        rollouts = [_plain(rollout) for rollout in rollouts]
        batches = []
        routed: list[list[int]] = []
        for entry, judge in zip(self._entries, self._judges, strict=True):
            asked = names is None or entry.name in names
            routed.append(
                [i for i, rollout in enumerate(rollouts) if asked and entry.applies_to(rollout.columns)]
            )
            positions = [i for i in routed[-1] if rollouts[i].broken is None]
            batches.append(judge.prepare(positions, [rollouts[i] for i in positions], step))
        self._pool.run(job for batch in batches for job in batch.jobs)
        metrics: dict[str, float] = {}
        verdicts: list[dict[str, Verdict]] = [{} for _ in rollouts]
        for entry, batch, reached in zip(self._entries, batches, routed, strict=True):
            scored = batch.collect() | _of_broken(reached, rollouts)
            metrics |= batch.metrics
            if self._budget is not None:
                self._budget.spend(entry.name, (score for score, _ in scored.values()))
            if entry.on_failure is OnFailure.ABORT:
                _abort_on_failure(entry.name, (score for score, _ in scored.values()))
            weight = entry.weight_at(step)
            for position, (score, latency_ms) in scored.items():
                verdicts[position][entry.name] = Verdict(score, weight, latency_ms, entry.on_failure)
        return Judgements(map(Judgement.of, verdicts), metrics)

    def close(self) -> None:
        """Stop the workers."""
        self._pool.close()
        if self._owns_cache:
            self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(rollout: Rollout) -> Rollout:
    """Return the rollout with plain Python columns, for routing and verifiers.

    Raises:
        DataError: The columns are nested too deeply.
    """
    try:
        return replace(rollout, columns=plain_columns(rollout.columns))
    except RecursionError:
        raise DataError("the columns are nested too deeply") from None


def _of_broken(positions: Sequence[int], rollouts: Sequence[Rollout]) -> dict[int, tuple[Score, float]]:
    """Return the failed scores of the rollouts whose environment was lost: what the model did is unknown."""
    return {
        place: (Score.failed(Failure.INFRASTRUCTURE, reason), 0.0)
        for place in positions
        if (reason := rollouts[place].broken) is not None
    }


def _abort_on_failure(name: str, scores: Iterable[Score]) -> None:
    for score in scores:
        if score.outcome is Outcome.FAILED:
            raise FailureBudgetError(
                f"'{name}' failed: {score.failure}: {score.explanation}. "
                "Its 'on_failure' is abort; set it to skip to leave such completions out instead."
            )


def _scorer(index: int, entry: Entry, cache: ScoreCache, pool: WorkerPool) -> Scorer:
    if entry.component.kind is Kind.REWARD:
        return RewardScorer(index, entry.component, entry.timeout_s)
    return VerifierScorer(index, entry.component, entry.timeout_s, cache, pool.shared_workers)
