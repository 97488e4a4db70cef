"""The values that plugins and the engine exchange. Imports nothing heavy; a plugin author needs no more than this."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

Messages: TypeAlias = Sequence[Mapping[str, Any]]
"""A conversation, as TRL and transformers spell it: ``[{"role": "user", "content": "..."}]``."""

Row: TypeAlias = Mapping[str, Any]
"""A data row: ``prompt`` (a string or messages) and any columns that verifiers and stages read."""


class Outcome(StrEnum):
    """How judging one completion with one verifier ended."""

    SCORED = "scored"
    """The verifier judged: ``value`` is a number. A wrong answer is scored, with 0."""
    SKIPPED = "skipped"
    """The completion is not this verifier's to judge: no value, and no failure."""
    FAILED = "failed"
    """Judging broke down: no value. Counted against the run's failure budget, never turned into 0 in silence."""


class Failure(StrEnum):
    """Why a score failed."""

    TIMEOUT = "timeout"
    """The verifier did not answer before its deadline and was killed."""
    INFRASTRUCTURE = "infrastructure"
    """Something outside the verifier was missing or down: a sandbox, a judge's endpoint."""
    VERIFIER = "verifier"
    """The verifier itself broke: it raised, crashed, or returned something that is no score."""
    REFERENCE = "reference"
    """The reference cannot be read, so nothing can be right or wrong against it."""


_NO_METADATA: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Score:
    """What one verifier says of one completion.

    Make one with ``Score(0.5)``, ``Score.skipped("why")`` or ``Score.failed(Failure.REFERENCE, "why")``.

    Raises:
        ValueError: The fields contradict each other, or the value is not a finite number.
    """

    value: float | None
    """The verdict as a number, by custom in [0, 1]; ``None`` unless the outcome is ``scored``."""
    outcome: Outcome = Outcome.SCORED
    failure: Failure | None = None
    answer: str | None = None
    """What the verifier took for the completion's answer."""
    explanation: str = ""
    """Why, in words for the person who reads the run's log."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    """Anything else worth keeping, as JSON values; the engine says as text what is none."""

    def __post_init__(self) -> None:
        if self.outcome is Outcome.SCORED:
            if self.value is None or isinstance(self.value, bool) or not math.isfinite(self.value):
                raise ValueError(f"a scored Score needs a finite number as its value, got {self.value!r}")
            object.__setattr__(self, "value", float(self.value))  # numpy's numbers are no JSON
        elif self.value is not None:
            raise ValueError(f"a {self.outcome} Score has no value, got {self.value!r}")
        if (self.failure is not None) != (self.outcome is Outcome.FAILED):
            raise ValueError(f"outcome {self.outcome!s} does not go with failure {self.failure!s}")

    @classmethod
    def skipped(cls, explanation: str = "") -> Score:
        """A completion that is not this verifier's to judge."""
        return cls(None, Outcome.SKIPPED, explanation=explanation)

    @classmethod
    def failed(cls, failure: Failure, explanation: str) -> Score:
        """A completion that could not be judged."""
        return cls(None, Outcome.FAILED, failure, explanation=explanation)

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON values, without empty fields other than ``value``, ``outcome`` and ``failure``."""
        result: dict[str, Any] = {
            "value": self.value,
            "outcome": self.outcome.value,
            "failure": self.failure.value if self.failure else None,
            "answer": self.answer,
            "explanation": self.explanation,
        }
        if self.metadata:
            result["metadata"] = dict(self.metadata)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """The inverse of :meth:`to_dict`."""
        failure = data.get("failure")
        return cls(
            value=data["value"],
            outcome=Outcome(data["outcome"]),
            failure=Failure(failure) if failure else None,
            answer=data.get("answer"),
            explanation=data.get("explanation", ""),
            metadata=data.get("metadata", _NO_METADATA),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy does not pickle; the default metadata is one.
        fields = (self.value, self.outcome, self.failure, self.answer, self.explanation, dict(self.metadata))
        return type(self), fields


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt, one sampled completion, and the data row that they belong to."""

    prompt: str | Messages
    completion: str | Messages
    columns: Row = field(default_factory=dict)
    """The data row's other columns, ``reference`` among them."""
    completion_ids: Sequence[int] = ()
    """The completion's token ids; empty where only text is known."""

    @property
    def text(self) -> str:
        """The completion as plain text: what a verifier gets."""
        return message_text(self.completion)


def message_text(content: str | Messages) -> str:
    """The text of a string or of a conversation's messages, joined by newlines.

    Content made of typed blocks (``[{"type": "text", "text": "..."}]``) counts with its text blocks.
    """
    if isinstance(content, str):
        return content
    return "\n".join(_block_text(message.get("content")) for message in content)


def _block_text(content: str | Iterable[Mapping[str, Any]] | None) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content if block.get("type") == "text")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verifier's or reward's score of one rollout, as the rubric weighed it."""

    score: Score
    weight: float
    """The weight at the step of the judgement."""
    latency_ms: float
    """Wall time in milliseconds that judging took, waiting not counted; 0 for a cached score."""

    @property
    def weighted(self) -> float | None:
        """The score's contribution to the reward."""
        return None if self.score.value is None else self.weight * self.score.value

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values: the score's, and how it was weighed."""
        return {
            **self.score.to_dict(),
            "weight": self.weight,
            "weighted": self.weighted,
            "latency_ms": round(self.latency_ms, 3),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`to_dict`, up to the latency's digits. A weight that was not kept counts as 1."""
        return cls(Score.from_dict(data), float(data.get("weight", 1.0)), float(data.get("latency_ms", 0.0)))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rubric says of one rollout."""

    reward: float | None
    """The weighted sum; ``None`` where nothing judged the rollout or a failure leaves its reward unknown."""
    verdicts: Mapping[str, Verdict]
    """By the name of the rubric's entry. An entry that the rollout was not routed to is absent."""

    def to_dict(self) -> dict[str, Any]:
        """The judgement as JSON values, the same in logs, in files and over HTTP: ``reward`` and ``scores``."""
        scores = {name: verdict.to_dict() for name, verdict in self.verdicts.items()}
        return {"reward": self.reward, "scores": scores}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Judgement:
        """The inverse of :meth:`to_dict`."""
        return cls(data["reward"], {name: Verdict.from_dict(said) for name, said in data["scores"].items()})
