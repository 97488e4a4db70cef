"""The parts that all adapters share: a rubric by name, and the handling of completions without a reward."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Hashable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from guerdon.data.columns import column
from guerdon.errors import CheckFailedError, InfrastructureError, UsageError
from guerdon.manifest.rubrics import resolve_rubric
from guerdon.plugins.discovery import Kind
from guerdon.rubric import Rubric
from guerdon.rubric.entry import first_ofs, names_of
from guerdon.rubric.shared import SharedRubric
from guerdon.types import Failure, Judgement, Judgements, Rollout

__all__ = ["NamedRubric"]

logger = logging.getLogger(__name__)


class NamedRubric:
    """A rubric by its name, which can be pickled.

    Each process that uses it opens its own rubric, and closes it at the end.

    Mistakes in the name or the params raise here, before anything is judged.

    Args:
        rubric: A manifest (a path that ends in ``.yaml`` or ``.yml``), a recipe, or a verifier or reward as a manifest
            names it: ``math``, ``distribution/name``, ``package.module:name``, ``./file.py:name``.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
    """

    def __init__(
        self,
        rubric: str,
        stage: str | None = None,
        params: Mapping[str, Any] | None = None,
        workers: int | None = None,
    ) -> None:
        planned = resolve_rubric(rubric, stage, params)
        self.name = planned.name
        """The stage's id, or the plugin's name."""
        self._entries = planned.entries
        self._failure_budget = planned.failure_budget
        self._workers = workers
        self._shared: SharedRubric | None
        self._forget()

    @property
    def names(self) -> list[str]:
        """Return the entries' names."""
        return names_of(self._entries)

    def weights(self, step: int = 0) -> dict[str, float]:
        """Return the entries' weights at a training step."""
        parts = {entry.name: entry for entry in self._entries} | first_ofs(self._entries)
        return {name: parts[name].weight_at(step) for name in self.names}

    def open(self) -> SharedRubric:
        """Return this process's rubric. Its workers start at the first call that judges."""
        if self._owner != os.getpid():  # a forked process has neither the thread nor the workers
            self._forget()
        with self._lock:
            if self._shared is None:
                self._shared = SharedRubric(
                    Rubric(self._entries, failure_budget=self._failure_budget, workers=self._workers)
                )
                atexit.register(self.close)
            return self._shared

    def refuse_groups(self, trainer: str, fix: str) -> None:
        """Raise if the rubric has a group reward, for a trainer that does not show which completions are a group.

        Raises:
            UsageError: It has one.
        """
        for entry in self._entries:
            if entry.component.kind is Kind.GROUP_REWARD:
                raise UsageError(
                    f"'{entry.name}' compares the completions of one prompt, and {trainer} does not say which "
                    f"completions belong together. {fix}"
                )

    def warn_of_schedules(self, trainer: str) -> None:
        """Warn if a weight has a schedule, for a trainer that does not tell the training step."""
        parts = {entry.name: entry for entry in self._entries} | first_ofs(self._entries)
        scheduled = [name for name, part in parts.items() if isinstance(part.weight, Mapping)]
        if scheduled:
            logger.warning(
                "the weight of '%s' changes with the training step, which %s does not tell: it stays that of step 0. "
                "Give the entry one weight, or train with 'guerdon run'.",
                "', '".join(scheduled),
                trainer,
            )

    def score(
        self, rollouts: Sequence[Rollout], step: int = 0, groups: Sequence[Hashable] | None = None
    ) -> Judgements:
        """Judge rollouts in order, as ``guerdon.rubric.Rubric.score`` does.

        Raises:
            UsageError: The rollouts are not a list of ``Rollout``, or a group reward is asked and no groups are given.
        """
        return self.open().score(rollouts, step, groups)

    async def judge(
        self, rollouts: Sequence[Rollout], groups: Sequence[Hashable] | None = None
    ) -> Judgements:
        """Judge rollouts as ``score`` does, without blocking the event loop."""
        return await asyncio.wrap_future(self.open().submit(rollouts, groups=groups))

    def close(self) -> None:
        """Stop this process's workers. The next use starts them again."""
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None and self._owner == os.getpid():
            atexit.unregister(self.close)
            shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._shared = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_owner", "_lock", "_shared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


NO_WAY_TO_LEAVE_OUT = (
    "The trainer cannot leave a completion out. Fix the cause, give the entry 'on_failure: zero' in the manifest, or "
    "set 'unscored' to the reward that such completions get."
)


NO_GROUPS = (
    "Use another stage's rewards, or an adapter that knows groups: TRL's with num_generations, verifiers' "
    "classic_rubric, or 'guerdon serve' with a 'group' for each rollout."
)


def reward_of(
    judgement: Judgement, unscored: float | None = None, advice: str = NO_WAY_TO_LEAVE_OUT
) -> float:
    """Return the reward of a completion, for a trainer that cannot leave a completion out.

    Args:
        judgement: The rubric's judgement.
        unscored: The reward of a completion that has none, if the user sets one explicitly.
        advice: The fix that the error suggests.

    Raises:
        InfrastructureError: There is no reward, because an external service is down, and ``unscored`` is not set.
        CheckFailedError: There is no reward for another reason, and ``unscored`` is not set.
    """
    if judgement.reward is not None:
        return judgement.reward
    if unscored is not None:
        return unscored
    outside = any(v.score.failure is Failure.INFRASTRUCTURE for v in judgement.verdicts.values())
    raise (InfrastructureError if outside else CheckFailedError)(
        f"a completion has no reward: {judgement.why_unscored()}. {advice}"
    )


def renamed(columns: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns, with the trainer's columns also under the names that verifiers read.

    Args:
        columns: The columns, by the data's names.
        names: For each name that a verifier reads, the data's name or a path in a column: ``{"reference": "answer"}``.

    Raises:
        UsageError: The data has no such column.
    """
    found = {}
    for name, path in names.items():
        try:
            found[name] = column(columns, path)
        except LookupError as error:
            raise UsageError(f"'columns' maps '{name}': {error}.") from None
    return {**columns, **found}
