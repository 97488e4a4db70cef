"""A verdict, which is a weighed score, and the judgement of all verdicts of a rollout."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from guerdon.errors import CheckFailedError
from guerdon.types.score import Outcome, Score

__all__ = ["Judgement", "Judgements", "OnFailure", "Verdict", "total_reward"]


class OnFailure(StrEnum):
    """The effect of a failed score on its rollout."""

    SKIP = "skip"
    """The rollout has no reward, and training leaves it out. The sum of the other scores would count the failure as
    0.
    """
    ZERO = "zero"
    """The score counts as 0, because the manifest says so."""
    ABORT = "abort"
    """The run stops."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One scorer's score of one rollout, with its weight."""

    score: Score
    weight: float
    """The entry's weight at the step."""
    latency_ms: float
    """Wall time of the check in milliseconds, without waiting; 0 for a cached score."""
    on_failure: OnFailure = OnFailure.SKIP
    """The effect of a failure of the entry."""
    tries: int = 1
    """How often the entry was asked: more than once if a failure was retried, 0 if other verdicts decided."""

    @property
    def saved(self) -> bool:
        """Return whether a retry gave a verdict after a failure."""
        return self.tries > 1 and not self._failed

    @property
    def counted(self) -> float | None:
        """Return the verdict's contribution to the reward, or ``None`` for no contribution, which is different from 0.

        A scored verdict contributes its value times its weight. A failed one contributes 0 if its entry has
        ``on_failure: zero``. A verdict of weight 0 is a metric and contributes nothing.
        """
        if self.weight == 0:
            return None
        if self.score.value is not None:
            return self.weight * self.score.value
        return 0.0 if self._failed and self.on_failure is OnFailure.ZERO else None

    @property
    def hides_reward(self) -> bool:
        """Return whether a failure makes the rollout's reward unknown.

        The sum of the other scores would count the failure as 0.
        """
        return self._failed and self.weight != 0 and self.on_failure is not OnFailure.ZERO

    @property
    def _failed(self) -> bool:
        return self.score.outcome is Outcome.FAILED

    @property
    def weighted(self) -> float | None:
        """Return the score's value times the weight, also for a metric, or ``None`` if there is no value."""
        return None if self.score.value is None else self.weight * self.score.value

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values: the score's, and how it was weighed."""
        return {
            **self.score.to_dict(),
            "weight": self.weight,
            "weighted": self.weighted,
            "counted": self.counted,
            "latency_ms": round(self.latency_ms, 3),
            **({} if self.tries == 1 else {"tries": self.tries}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict that ``to_dict`` converted, with the latency rounded. A missing weight counts as 1."""
        score = Score.from_dict(data)
        zero = score.outcome is Outcome.FAILED and data.get("counted") == 0
        on_failure = OnFailure.ZERO if zero else OnFailure.SKIP
        weight, latency_ms = float(data.get("weight", 1.0)), float(data.get("latency_ms", 0.0))
        return cls(score, weight, latency_ms, on_failure, int(data.get("tries", 1)))


def total_reward(verdicts: Iterable[Verdict]) -> float | None:
    """Return the reward of one rollout: the sum of its verdicts' contributions.

    ``None`` means that there is no reward, which is different from 0: no verdict contributed, or a failure hides the
    reward.

    Raises:
        CheckFailedError: The sum is not a finite number.
    """
    counted = []
    for verdict in verdicts:
        if verdict.hides_reward:
            return None
        if verdict.counted is not None:
            counted.append(verdict.counted)
    if not counted:
        return None
    try:
        total = math.fsum(counted)
    except (OverflowError, ValueError):  # the sum overflows or contains infinities
        total = math.nan
    if not math.isfinite(total):
        raise CheckFailedError(
            f"the reward of a rollout is not a finite number: it is the sum of {', '.join(map(str, counted))}. "
            "Lower the weights or the values."
        )
    return total


@dataclass(frozen=True, slots=True)
class Judgement:
    """A rubric's result for one rollout."""

    reward: float | None
    """The weighted sum, by ``total_reward``; ``None`` if the rollout has no reward."""
    verdicts: Mapping[str, Verdict]
    """The verdicts by entry name. Entries that the rollout was not routed to are absent."""

    @classmethod
    def of(cls, verdicts: Mapping[str, Verdict]) -> Judgement:
        """Return the judgement for verdicts.

        Raises:
            CheckFailedError: Their sum is not a finite number.
        """
        return cls(total_reward(verdicts.values()), verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Return the judgement as JSON values with ``reward`` and ``scores``, as in logs, files and HTTP answers."""
        scores = {name: verdict.to_dict() for name, verdict in self.verdicts.items()}
        return {"reward": self.reward, "scores": scores}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """Return the judgement that ``to_dict`` converted."""
        return cls(data["reward"], {name: Verdict.from_dict(said) for name, said in data["scores"].items()})

    def values(self, names: Sequence[str]) -> dict[str, float]:
        """Return each entry's value before its weight, for a trainer's logs; NaN if there is none."""
        scores = {name: verdict.score.value for name, verdict in self.verdicts.items()}
        return {name: math.nan if (value := scores.get(name)) is None else value for name in names}

    def why_unscored(self) -> str:
        """Return why there is no reward, in one line."""
        failed = [
            f"'{name}' failed: {verdict.score.failure}: {verdict.score.explanation}"
            for name, verdict in self.verdicts.items()
            if verdict.score.outcome is Outcome.FAILED
        ]
        return (
            "; ".join(failed).rstrip(".")
            or "nothing judged it: every entry skipped it, is routed elsewhere or has a weight of 0"
        )


class Judgements(list[Judgement]):
    """The judgements of one call, in the order of its rollouts."""

    def __init__(
        self, judgements: Iterable[Judgement] = (), metrics: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(judgements)
        self.metrics = dict(metrics or {})
        """The values that reward functions passed to ``log_metric`` in the call."""
