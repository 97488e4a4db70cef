"""What the engine and its worker processes say to each other, as pickled dataclasses over a socket pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.plugins.component import Component
from guerdon.types import Messages, Score

MAX_CONCURRENT_CALLS = 64
"""How many calls of one async verifier are under way at once: its cases begin in their order."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message to a worker."""

    sys_path: Sequence[str]
    components: Sequence[Component]
    """Tasks name them by their index. A worker builds each when it first needs it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to judge."""

    completion: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """Judge cases with a verifier, one by one; an async verifier judges them concurrently."""

    component: int
    cases: Sequence[Item]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class RewardTask:
    """Call a reward function once for a whole batch."""

    component: int
    prompts: Sequence[str | Messages]
    completions: Sequence[str | Messages]
    completion_ids: Sequence[Sequence[int]]
    columns: Mapping[str, Sequence[Any]]
    step: int


@dataclass(frozen=True, slots=True)
class SettingUp:
    """A component was built, and its ``setup`` begins, which has a deadline of its own."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Built:
    """A component was built and its work begins: the deadline counts from here."""

    concurrent: bool
    """Whether the task's cases are judged all at once, or one after the other."""


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A component could not be built; the error says why."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Scored:
    """One case of the current task is judged."""

    index: int
    score: Score
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case of the current task has paused its deadline; the worker is alive."""


@dataclass(frozen=True, slots=True)
class Rewarded:
    """The current reward task is done; one score for each completion."""

    scores: Sequence[Score]
    latency_ms: float
    metrics: Mapping[str, float]
    """What the reward function gave to TRL's ``log_metric``."""
    extra: Mapping[str, Sequence[Any]]
    """What it gave to TRL's ``log_extra``, one value for each completion."""
