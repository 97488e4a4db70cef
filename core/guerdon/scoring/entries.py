"""Turn the rollouts of one rubric entry into jobs for the workers, and the jobs' answers into scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from guerdon.errors import DataError
from guerdon.plugins.columns import CallColumns
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind
from guerdon.plugins.spelling import nearest
from guerdon.scoring.cache import ScoreCache, component_key, score_key
from guerdon.scoring.dispatch import Dispatch
from guerdon.scoring.early import EarlyAnswers, KnownAnswers
from guerdon.scoring.jobs import Job, RewardJob, VerifyJob
from guerdon.scoring.pool import Pool
from guerdon.scoring.protocol import Item, RewardTask
from guerdon.types import Rollout, Row, Score

VERIFIER_TIMEOUT_S = 10.0
REWARD_TIMEOUT_S = 300.0

_Key: TypeAlias = str | int
"""A case's content key, or its position if it has none. A case without a content key is not cached or deduplicated."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The rollouts for which an entry is asked."""

    positions: Sequence[int]
    """The rollouts' places in the call."""
    rollouts: Sequence[Rollout]
    step: int
    """The training step."""
    groups: Sequence[Hashable] = ()
    """For a group reward, each rollout's group."""
    met: Sequence[bool | None] = ()
    """For a group reward, whether each rollout meets the entry's needs; ``None`` if that is not known."""
    early: bool = False
    """Whether the answers are kept for a later call. All cases then have keys."""

    def only(self, keep: Callable[[int], bool]) -> Asked:
        """Return those of the rollouts whose index in this object fits."""
        kept = [index for index in range(len(self.positions)) if keep(index)]
        return Asked(
            [self.positions[index] for index in kept],
            [self.rollouts[index] for index in kept],
            self.step,
            [self.groups[index] for index in kept] if self.groups else (),
            [self.met[index] for index in kept] if self.met else (),
        )


MET_OF_A_REWARD = (
    "which only a group reward gets from guerdon. If it is one, set guerdon_kind = 'group_reward' on it, or give it an "
    "entry point in guerdon.group_rewards."
)
"""The rest of the sentence about a reward that needs the column ``met``."""


class Batch(Protocol):
    """The work of one entry on one batch of rollouts."""

    @property
    def jobs(self) -> Sequence[Job]: ...

    @property
    def metrics(self) -> Mapping[str, float]: ...

    def collect(self) -> dict[int, tuple[Score, float]]:
        """Return each score with its latency in milliseconds, by the rollout's position, after the jobs are done."""


class Scorer(Protocol):
    """Prepares the jobs of one rubric entry."""

    def require(self, rollout: Rollout) -> None:
        """Raise a :class:`DataError` if the rollout lacks a column that the entry needs."""

    def prepare(self, asked: Asked) -> Batch: ...

    def again(self, asked: Asked, failed: Collection[int]) -> Asked:
        """Return the rollouts to ask for again, so that those that failed may get a score.

        Args:
            asked: All rollouts of the first try.
            failed: The positions of those whose score failed.
        """

    def take_early(self) -> KnownAnswers:
        """Take out the answers of early calls that no other call has taken."""

    def add_early(self, answers: KnownAnswers) -> None:
        """Add answers that another process's scorer of the same entry gave to early calls."""


class VerifierScorer:
    """Judges completions one by one, and equal ones once."""

    def __init__(
        self, index: int, component: Component, timeout_s: float | None, cache: ScoreCache, pool: Pool
    ) -> None:
        self._component = component
        self._key = component_key(component)
        self._columns = component.columns
        self._dispatch = Dispatch(index, component, timeout_s, VERIFIER_TIMEOUT_S, pool)
        self._cache = cache
        self._early: EarlyAnswers[Score] = EarlyAnswers()

    def require(self, rollout: Rollout) -> None:
        require_columns(self._component, self._columns, offered_columns(rollout), own=rollout.columns)

    def prepare(self, asked: Asked) -> VerifierBatch:
        cases: dict[_Key, Item] = {}
        key_at: dict[int, _Key] = {}
        for position, rollout in zip(asked.positions, asked.rollouts, strict=True):
            columns = offered_columns(rollout)
            require_columns(self._component, self._columns, columns, own=rollout.columns)
            case = Item(rollout.text, self._columns.pick(columns))
            key: _Key = score_key(self._key, case.completion, case.columns) or position
            key_at[position] = key
            cases[key] = case
        keys = [key for key in cases if isinstance(key, str)]
        early = self._early.known(keys, asked.early)
        cached = self._cache.get([key for key in keys if key not in early])
        known = {key: (score, 0.0) for key, score in cached.items()} | early
        unknown = [key for key in cases if key not in known]
        chunks = self._dispatch.portions(unknown)
        jobs = [
            self._dispatch.job([cases[key] for key in chunk], partial(self._keep, chunk)) for chunk in chunks
        ]
        return VerifierBatch(key_at, known, chunks, jobs, self._early if asked.early else None)

    def again(self, asked: Asked, failed: Collection[int]) -> Asked:
        return asked.only(lambda index: asked.positions[index] in failed)

    def take_early(self) -> KnownAnswers:
        return self._early.take()

    def add_early(self, answers: KnownAnswers) -> None:
        own = {key: (score, ms) for key, (score, ms) in answers.items() if isinstance(score, Score)}
        self._early.keep(own)
        self._cache.put({key: score for key, (score, _) in own.items()})

    def _keep(
        self, keys: Sequence[_Key], index: int, score: Score | Sequence[Score], latency_ms: float
    ) -> None:
        del latency_ms  # of the first time; a known score has none
        key = keys[index]
        if isinstance(key, str) and isinstance(score, Score):
            self._cache.put({key: score})


@dataclass(slots=True)
class VerifierBatch:
    """The cases of a verifier: known ones from the cache, the others in jobs."""

    key_at: Mapping[int, _Key]
    known: Mapping[str, tuple[Score, float]]
    chunks: Sequence[Sequence[_Key]]
    jobs: Sequence[VerifyJob]
    early: EarlyAnswers[Score] | None
    """What keeps the answers of an early call."""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def collect(self) -> dict[int, tuple[Score, float]]:
        judged: dict[_Key, tuple[Score, float]] = {}
        for chunk, job in zip(self.chunks, self.jobs, strict=True):
            for key, result in zip(chunk, job.results, strict=True):
                assert result is not None
                score, latency_ms = result
                assert isinstance(score, Score)
                judged[key] = score, latency_ms
        if self.early is not None:
            self.early.keep({key: answer for key, answer in judged.items() if isinstance(key, str)})
        judged.update(self.known.items())
        return self._at_positions(judged)

    def _at_positions(self, judged: Mapping[_Key, tuple[Score, float]]) -> dict[int, tuple[Score, float]]:
        """Return the scores by position. Of equal cases, which were judged once, the first has the usage."""
        found = {}
        seen: set[_Key] = set()
        for position, key in self.key_at.items():
            score, latency_ms = judged[key]
            found[position] = replace(score, usage={}) if key in seen and score.usage else score, latency_ms
            seen.add(key)
        return found


class RewardScorer:
    """Calls a reward function once for all completions that are routed to it."""

    def __init__(self, index: int, component: Component, timeout_s: float | None) -> None:
        self._index = index
        self._component = component
        self._columns = component.columns
        self._timeout_s = timeout_s or float(component.member("timeout_s", REWARD_TIMEOUT_S))

    def require(self, rollout: Rollout) -> None:
        require_columns(self._component, self._columns, rollout.columns)

    def prepare(self, asked: Asked) -> RewardBatch:
        positions, rollouts = asked.positions, asked.rollouts
        if not rollouts:
            return RewardBatch(positions, [])
        rows = [rollout.columns for rollout in rollouts]
        for row in rows:
            require_columns(self._component, self._columns, row)
        names = {name: None for row in rows for name in row}
        task = RewardTask(
            self._index,
            prompts=[rollout.prompt for rollout in rollouts],
            completions=[rollout.completion for rollout in rollouts],
            completion_ids=[list(rollout.completion_ids) for rollout in rollouts],
            columns={name: [row.get(name) for row in rows] for name in names},
            step=asked.step,
            environments=_environments(rollouts),
        )
        return RewardBatch(positions, [RewardJob(self._index, task, self._timeout_s)])

    def again(self, asked: Asked, failed: Collection[int]) -> Asked:
        del failed  # a reward may compare completions, so it gets the whole batch
        return asked

    def take_early(self) -> KnownAnswers:
        return {}  # early calls do not ask reward functions

    def add_early(self, answers: KnownAnswers) -> None:
        del answers


@dataclass(slots=True)
class RewardBatch:
    """The call of a reward function: at most one job."""

    positions: Sequence[int]
    jobs: Sequence[RewardJob]

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.jobs[0].answer.metrics if self.jobs and self.jobs[0].answer else {}

    def collect(self) -> dict[int, tuple[Score, float]]:
        if not self.jobs:
            return {}
        answer = self.jobs[0].answer
        assert answer is not None
        share_ms = answer.latency_ms / len(self.positions)
        scores = {
            position: (score, share_ms) for position, score in zip(self.positions, answer.scores, strict=True)
        }
        for number, position in enumerate(self.positions):
            extra = {column: values[number] for column, values in answer.extra.items()}
            if extra:
                score = scores[position][0]
                scores[position] = replace(score, metadata={**score.metadata, **extra}), share_ms
        return scores


def offered_columns(rollout: Rollout) -> dict[str, Any]:
    """Return what a verifier may ask for: the row's columns, and by ``FROM_ROLLOUT`` what belongs to the rollout.

    A row's own columns named ``environment`` and ``environment_reward`` are offered if the rollout has none.
    """
    of_environment = {
        "environment": rollout.environment,
        "environment_reward": rollout.environment_reward,
    }
    return {
        **of_environment,
        **rollout.columns,
        **{name: value for name, value in of_environment.items() if value is not None},
        "prompt": rollout.prompt,
        "messages": list(rollout.messages),
        "tool_calls": [call.for_scorer() for call in rollout.tool_calls],
    }


def _environments(rollouts: Sequence[Rollout]) -> list[Mapping[str, Any]] | None:
    """Return the environments' final states for TRL's argument ``environments``, or ``None`` if there are none."""
    if all(rollout.environment is None for rollout in rollouts):
        return None
    return [rollout.environment or {} for rollout in rollouts]


def require_columns(
    component: Component, columns: CallColumns, offered: Row, *, own: Row | None = None
) -> None:
    """Check that a row has the columns that a verifier or reward requires.

    Args:
        component: The verifier or reward.
        columns: The columns that it reads.
        offered: All that it may read.
        own: The columns of the row itself; by default all that are offered.

    Raises:
        DataError: It lacks a column.
    """
    missing = sorted(columns.required - offered.keys())
    if missing:
        name = missing[0]
        if component.kind is Kind.REWARD and name == "met":
            raise DataError(f"{component.plugin} needs the column 'met', {MET_OF_A_REWARD}")
        names = sorted((offered if own is None else own).keys() - {"prompt"})
        source = names[0] if len(names) == 1 else nearest(name, names) or "COLUMN"
        raise DataError(
            f"{component.plugin} needs the column '{name}', and the row has "
            f"{', '.join(names) or 'none besides the prompt'}. Map a column of the data to that name (on the command "
            f"line: --column {name}={source}), or set it in the verifier's params."
        )
