"""The messages between the engine and its worker processes: pickled dataclasses over a socket pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.plugins.component import Component
from guerdon.types import Messages, Score

MAX_CONCURRENT_CALLS = 64
"""The most concurrent calls of one async verifier. Its cases begin in order."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message to a worker."""

    sys_path: Sequence[str]
    components: Sequence[Component]
    """Tasks refer to them by index. A worker builds each at its first use."""


@dataclass(frozen=True, slots=True)
class Item:
    """One completion to judge."""

    completion: str
    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GroupItem:
    """The completions of one prompt, to judge together."""

    completions: Sequence[str]
    columns: Mapping[str, Any]
    completion_ids: Sequence[Sequence[int]]
    met: Sequence[bool | None]
    """Whether each completion meets the entry's needs; ``None`` if that is not known."""


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """Judge cases with a verifier or a group reward, one by one; an async one judges them concurrently."""

    component: int
    cases: Sequence[Item | GroupItem]
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
    environments: Sequence[Mapping[str, Any]] | None = None
    """The final states of the rollouts' environments, if there are any."""


@dataclass(frozen=True, slots=True)
class SettingUp:
    """A component was built, and its ``setup`` begins, with its own deadline."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Built:
    """A component was built and its work begins: the deadline starts now."""

    concurrent: bool
    """Whether the task's cases run concurrently, or one after the other."""


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A component could not be built, with the error."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Scored:
    """One case of the current task is judged."""

    index: int
    score: Score | Sequence[Score]
    """A completion's score, or one for each completion of a group."""
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case of the current task has paused its deadline; the worker is alive."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A plugin has logged a warning for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Rewarded:
    """The current reward task is done, with one score for each completion."""

    scores: Sequence[Score]
    latency_ms: float
    metrics: Mapping[str, float]
    """The values that the reward function passed to TRL's ``log_metric``."""
    extra: Mapping[str, Sequence[Any]]
    """The values that it passed to TRL's ``log_extra``, one for each completion."""
