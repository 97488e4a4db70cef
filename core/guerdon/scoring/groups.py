"""Turn the groups of one group reward into jobs for the workers, and the jobs' answers into scores."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from guerdon.errors import DataError
from guerdon.plugins.component import Component
from guerdon.scoring.cache import ScoreCache, component_key, score_key
from guerdon.scoring.dispatch import Dispatch
from guerdon.scoring.early import EarlyAnswers, KnownAnswers
from guerdon.scoring.entries import REWARD_TIMEOUT_S, Asked, require_columns
from guerdon.scoring.jobs import VerifyJob
from guerdon.scoring.pool import Pool
from guerdon.scoring.protocol import GroupItem
from guerdon.types import Rollout, Score

__all__ = ["GroupScorer"]


class GroupScorer:
    """Judges the completions of one prompt together, and equal groups once."""

    def __init__(
        self, index: int, component: Component, timeout_s: float | None, cache: ScoreCache, pool: Pool
    ) -> None:
        self._component = component
        self._key = component_key(component)
        self._columns = component.columns
        self._dispatch = Dispatch(index, component, timeout_s, REWARD_TIMEOUT_S, pool)
        self._cache = cache
        self._early: EarlyAnswers[Score | Sequence[Score]] = EarlyAnswers()

    def require(self, rollout: Rollout) -> None:
        require_columns(self._component, self._columns, {**rollout.columns, "prompt": rollout.prompt})

    def prepare(self, asked: Asked) -> GroupBatch:
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(asked.groups):
            members.setdefault(group, []).append(index)
        known: dict[int, tuple[Score, float]] = {}
        unknown: list[tuple[GroupItem, str | None, Sequence[int]]] = []
        for indices in members.values():
            item = self._item([asked.rollouts[i] for i in indices], [asked.met[i] for i in indices])
            positions = [asked.positions[i] for i in indices]
            key = self._key_of(item)
            early = self._early.known([key] if key else [], asked.early)
            if key in early:
                known |= _shared_out(positions, *early[key])
                continue
            found = self._cache.get(_keys(key, len(positions))) if key else {}
            if len(found) == len(positions) and key:
                scores = [found[one] for one in _keys(key, len(positions))]
                known |= _shared_out(positions, scores, 0.0)
            else:
                unknown.append((item, key, positions))
        chunks = self._dispatch.portions(unknown)
        jobs = [
            self._dispatch.job(
                [item for item, _, _ in chunk], partial(self._keep, [key for _, key, _ in chunk])
            )
            for chunk in chunks
        ]
        return GroupBatch(
            known,
            [[(key, positions) for _, key, positions in chunk] for chunk in chunks],
            jobs,
            self._early if asked.early else None,
        )

    def again(self, asked: Asked, failed: Collection[int]) -> Asked:
        groups = {
            group for position, group in zip(asked.positions, asked.groups, strict=True) if position in failed
        }
        return asked.only(lambda index: asked.groups[index] in groups)

    def take_early(self) -> KnownAnswers:
        return self._early.take()

    def add_early(self, answers: KnownAnswers) -> None:
        self._early.keep(answers)
        for key, (scores, _) in answers.items():
            self._put(key, scores)

    def _item(self, rollouts: Sequence[Rollout], met: Sequence[bool | None]) -> GroupItem:
        """Return a group, with the columns that all of its rows share.

        Raises:
            DataError: A column that the plugin names is missing, or differs in the group.
        """
        rows = [{**rollout.columns, "prompt": rollout.prompt} for rollout in rollouts]
        for row in rows:
            require_columns(self._component, self._columns, row)
        first = rows[0]
        differing = {name for row in rows for name in row if row.get(name) != first.get(name)}
        if named := sorted(differing & self._columns.names):
            raise DataError(
                f"{self._component.plugin} reads the column '{named[0]}', which differs in one group: "
                f"{', '.join(repr(row.get(named[0]))[:40] for row in rows[:3])}. A group is the completions of one "
                "row of the data."
            )
        shared = {name: value for name, value in first.items() if name not in differing}
        return GroupItem(
            [rollout.text for rollout in rollouts],
            self._columns.pick(shared),
            [list(rollout.completion_ids) for rollout in rollouts],
            met,
        )

    def _key_of(self, item: GroupItem) -> str | None:
        whole = {"columns": item.columns, "ids": item.completion_ids, "met": item.met}
        return score_key(self._key, "\0".join(item.completions), {**whole, "texts": item.completions})

    def _keep(
        self, keys: Sequence[str | None], index: int, scores: Score | Sequence[Score], latency_ms: float
    ) -> None:
        del latency_ms  # of the first time; a known score has none
        if (key := keys[index]) is not None:
            self._put(key, scores)

    def _put(self, key: str, scores: Score | Sequence[Score]) -> None:
        if not isinstance(scores, Score):  # not a failure
            self._cache.put(dict(zip(_keys(key, len(scores)), scores, strict=True)))


@dataclass(slots=True)
class GroupBatch:
    """The groups of a group reward: known ones from the cache, the others in jobs."""

    known: Mapping[int, tuple[Score, float]]
    chunks: Sequence[Sequence[tuple[str | None, Sequence[int]]]]
    """The key and the positions of each group of each job."""
    jobs: Sequence[VerifyJob]
    early: EarlyAnswers[Score | Sequence[Score]] | None
    """What keeps the answers of an early call."""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def collect(self) -> dict[int, tuple[Score, float]]:
        judged = dict(self.known)
        for chunk, job in zip(self.chunks, self.jobs, strict=True):
            for (key, positions), result in zip(chunk, job.results, strict=True):
                assert result is not None
                judged |= _shared_out(positions, *result)
                if self.early is not None and key is not None:
                    self.early.keep({key: result})
        return judged


def _shared_out(
    positions: Sequence[int], scores: Score | Sequence[Score], latency_ms: float
) -> dict[int, tuple[Score, float]]:
    """Return a group's scores, or its one failure, by position, each with its share of the time."""
    each = [scores] * len(positions) if isinstance(scores, Score) else scores
    share_ms = latency_ms / len(positions)
    return {position: (score, share_ms) for position, score in zip(positions, each, strict=True)}


def _keys(key: str, count: int) -> list[str]:
    return [f"{key}/{number}" for number in range(count)]
