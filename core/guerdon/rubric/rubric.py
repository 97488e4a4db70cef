"""Rubrics: named, weighted scorers that give each rollout one reward."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from types import TracebackType
from typing import Any, Self

from guerdon.data.references import plain_columns
from guerdon.errors import DataError, UsageError, library_of
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.rubric.call import Call
from guerdon.rubric.entry import Entry, FirstOf, compares_groups, first_ofs, names_of, order_of
from guerdon.scoring.budget import FailureBudget
from guerdon.scoring.cache import ScoreCache, component_key
from guerdon.scoring.early import answers_as_json, answers_from_json, has_key
from guerdon.scoring.entries import RewardScorer, Scorer, VerifierScorer, offered_columns
from guerdon.scoring.groups import GroupScorer
from guerdon.scoring.pool import Pool, WorkerPool
from guerdon.types import Judgement, Judgements, Rollout

__all__ = ["MAX_CACHED_SCORES", "Rubric", "fingerprint", "groups_for", "require_rollouts"]

MAX_CACHED_SCORES = 200_000
"""The most scores that a rubric keeps in memory: about 100 MB."""


class Rubric:
    """Scores rollouts. Holds worker processes: use it as a context manager, or close it.

    Args:
        entries: The verifiers and rewards; names must be unique. An entry may come before one that it needs.
        cache: Keeps known scores; the caller closes it. By default the latest ones are kept in memory.
        failure_budget: The share of failed scores (0 to 1) above which scoring raises; ``None`` for no limit.
        workers: How many processes share the sync verifiers; by default one per usable CPU.
        ray: ``auto`` or the address of a Ray cluster, on whose nodes the workers run; by default on this machine.
        ray_pools: How many rubrics use the cluster for one launch. Each has an equal part of the workers.

    Raises:
        UsageError: Two entries have one name, or needs are unknown or circular.
        MissingDependencyError: Ray is needed and not installed.
        InfrastructureError: There is no Ray cluster at the address.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        cache: ScoreCache | None = None,
        failure_budget: float | None = None,
        workers: int | None = None,
        ray: str | None = None,
        ray_pools: int = 1,
    ) -> None:
        names = names_of(entries)
        if repeated := {name for name in names if names.count(name) > 1}:
            raise UsageError(
                f"several rewards are named {', '.join(sorted(repeated))}. Give each a 'name' of its own."
            )
        self._entries = list(entries)
        self._names = names
        self._before = order_of(entries)
        self._turns = _turns(self._before)
        self._late = {
            name
            for name in names
            if any(_waits(e.component) and e.name in self._with_needed([name]) for e in entries)
        }
        self._wholes = first_ofs(entries)
        self._members = {
            name: [entry.name for entry in entries if entry.within == whole]
            for name, whole in self._wholes.items()
        }
        self._cache = ScoreCache(max_scores=MAX_CACHED_SCORES) if cache is None else cache
        self._owns_cache = cache is None
        self._budget = FailureBudget(failure_budget) if failure_budget is not None else None
        self._pool = _pool([entry.component for entry in entries], workers, ray, ray_pools)
        self._scorers = {
            entry.name: _scorer(index, entry, self._cache, self._pool) for index, entry in enumerate(entries)
        }

    @property
    def names(self) -> list[str]:
        """Return the names of all verdicts: the entries', and those of ``first_of`` wholes."""
        return list(self._names)

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of every verdict at a training step, by name."""
        parts = {entry.name: entry for entry in self._entries} | self._wholes
        return {name: parts[name].weight_at(step) for name in self._names}

    def check(self, rollout: Rollout) -> None:
        """Check that a rollout has the columns that its entries need.

        Raises:
            DataError: It lacks one.
        """
        rollout = _plain(rollout)
        for entry in self._entries:
            if entry.applies_to(rollout.columns):
                self._scorers[entry.name].require(rollout)

    def score(
        self,
        rollouts: Sequence[Rollout],
        step: int = 0,
        *,
        names: Collection[str] | None = None,
        groups: Sequence[Hashable] | None = None,
        early: bool = False,
    ) -> Judgements:
        """Judge rollouts. The result has one judgement for each, in the same order.

        An early call judges rollouts while others are generated. A later call with them finds its answers, and gives
        the same judgements, counts the same failures and retries the same scores as without an early call. An early
        call does not ask reward functions, which see their whole batch, nor plugins with ``setup``, whose model may
        need the accelerator that generates, nor entries that depend on these.

        Args:
            rollouts: The rollouts to judge.
            step: The training step, for weight schedules.
            names: The entries that judge, with those that they need; by default all.
            groups: Each rollout's group: rollouts of one prompt have one value. Group rewards need it.
            early: Whether another call with these rollouts follows. A group must be whole. The judgements hold first
                answers, and may be incomplete.

        Raises:
            DataError: A rollout lacks a column that a verifier needs.
            UsageError: The rollouts are not a list of ``Rollout``, or a group reward is asked and no groups are given.
            CheckFailedError: A reward is not a finite number.
            FailureBudgetError: Too many scores failed, or one with ``on_failure: abort``.
            PluginLoadError: A plugin cannot be built.
        """
        require_rollouts(rollouts)
        plain = [_plain(rollout) for rollout in rollouts]
        wanted = set(self._names) if names is None else self._with_needed(names)
        if early:
            wanted -= self._late
            if not all(has_key(offered_columns(rollout)) for rollout in plain):
                wanted = set()
        call = Call(plain, step, self._budget, self._members, groups, early)
        for turn in self._turns:
            entries = [entry for entry in self._entries if entry.name in turn & wanted]
            call.ask(entries, self._scorers, self._pool)
            for name in self._names:
                if name in turn & wanted & self._wholes.keys():
                    call.decide(self._wholes[name])
        return Judgements(map(Judgement.of, call.verdicts), call.metrics)

    @property
    def early_names(self) -> frozenset[str]:
        """Return the names of the verdicts that an early call of ``score`` gives."""
        return frozenset(self._names) - self._late

    @property
    def shares_workers(self) -> bool:
        """Return whether it shares its workers and its cache with those of other processes on this machine."""
        return False

    def take_early(self) -> dict[str, Any]:
        """Take out the answers of early calls that no other call has taken, as JSON values by entry."""
        return {name: answers_as_json(scorer.take_early()) for name, scorer in self._scorers.items()}

    def add_early(self, answers: Mapping[str, Any]) -> None:
        """Add what ``take_early`` of a rubric with the same entries returned on another machine."""
        for name, known in answers.items():
            self._scorers[name].add_early(answers_from_json(known))

    @property
    def compares_groups(self) -> bool:
        """Return whether an entry is a group reward, so that ``score`` needs ``groups``."""
        return compares_groups(self._entries)

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

    def _with_needed(self, names: Collection[str]) -> set[str]:
        """Return the names with all that must be known before them."""
        wanted: set[str] = set()
        waiting = set(names) & set(self._names)
        while waiting:
            wanted |= waiting
            waiting = {before for name in waiting for before in self._before[name]} - wanted
        return wanted


def require_rollouts(rollouts: Any) -> None:
    """Check that what a caller wants judged is a list of rollouts.

    Raises:
        UsageError: It is a single rollout, or holds something else, such as rows of a data set.
    """
    fix = "Give a list of guerdon.Rollout, such as [Rollout(prompt, completion, {'reference': '4'})]."
    if not isinstance(rollouts, Sequence) or isinstance(rollouts, str | bytes):
        raise UsageError(f"score takes a list of rollouts, and got a {type(rollouts).__name__}. {fix}")
    for index, rollout in enumerate(rollouts):
        if not isinstance(rollout, Rollout):
            raise UsageError(
                f"score takes a list of rollouts, and item {index} is a {type(rollout).__name__}. {fix}"
            )


def groups_for(rubric: Any, groups: Sequence[Hashable]) -> dict[str, Any]:
    """Return the argument ``groups`` of ``score`` if the rubric compares groups; another judge of rollouts has none."""
    return {"groups": groups} if getattr(rubric, "compares_groups", False) else {}


def _turns(before: dict[str, set[str]]) -> list[set[str]]:
    """Return the names in turns: each turn's entries are asked together, after those of earlier turns.

    Raises:
        UsageError: A name is unknown, or needs are circular.
    """
    if unknown := sorted(set().union(*before.values()) - before.keys()):
        raise UsageError(f"an entry needs '{unknown[0]}', and the rubric has {', '.join(before)}.")
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError as error:
        raise UsageError(
            f"entries need each other in a circle: {' -> '.join(error.args[1][::-1])}."
        ) from None
    turns = []
    while sorter.is_active():
        ready = sorter.get_ready()
        turns.append(set(ready))
        sorter.done(*ready)
    return turns


def fingerprint(entries: Sequence[Entry]) -> str:
    """Return a digest of everything in a rubric that decides a reward, 16 hexadecimal digits long."""
    parts = [
        {
            "name": entry.name,
            "plugin": component_key(entry.component),
            "retries": entry.retries,
            **_rule(entry),
            "within": entry.within
            and {"name": entry.within.name, "needs": list(entry.within.needs)} | _rule(entry.within),
        }
        for entry in entries
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _waits(component: Component) -> bool:
    """Return whether a plugin is not asked by an early call."""
    return component.kind is Kind.REWARD or component.member("setup") is not None


def _rule(part: Entry | FirstOf) -> dict[str, Any]:
    weight = sorted(part.weight.items()) if isinstance(part.weight, Mapping) else part.weight
    rule = {"weight": weight, "when": dict(part.when), "on_failure": part.on_failure.value}
    return rule | {"needs": list(part.needs)}


def _plain(rollout: Rollout) -> Rollout:
    """Return the rollout with plain Python columns, for routing and verifiers.

    Raises:
        DataError: The columns are nested too deeply.
    """
    try:
        return replace(rollout, columns=plain_columns(rollout.columns))
    except RecursionError:
        raise DataError("the columns are nested too deeply") from None


def _pool(components: Sequence[Component], workers: int | None, ray: str | None, ray_pools: int) -> Pool:
    if ray is None:
        return WorkerPool(components, workers)
    with library_of("scoring on a Ray cluster", extra="ray"):
        from guerdon.scoring.ray_pool import RayPool
    return RayPool(components, ray, workers, ray_pools)


def _scorer(index: int, entry: Entry, cache: ScoreCache, pool: Pool) -> Scorer:
    if entry.component.kind is Kind.REWARD:
        return RewardScorer(index, entry.component, entry.timeout_s)
    if entry.component.kind is Kind.GROUP_REWARD:
        return GroupScorer(index, entry.component, entry.timeout_s, cache, pool)
    return VerifierScorer(index, entry.component, entry.timeout_s, cache, pool)
