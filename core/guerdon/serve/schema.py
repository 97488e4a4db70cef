"""What the server is asked and what it answers. Strict: an unknown key is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from guerdon.types import Failure, Outcome


class Strict(BaseModel):
    """A part of a request or of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Message(BaseModel):
    """One message of a conversation, as TRL and OpenAI spell it; other keys are kept."""

    model_config = ConfigDict(extra="allow", strict=True, use_attribute_docstrings=True)

    role: str
    content: str | list[dict[str, Any]] | None = None
    """Text, or typed blocks, of which those of type `text` count."""


class RolloutIn(Strict):
    """One completion to judge."""

    id: str | int | float | None = None
    """Anything that tells the rollout from others; the answer repeats it."""
    prompt: str | list[Message] = ""
    """What the completion answers."""
    completion: str | list[Message]
    """What the model wrote: text, or turns, of which only those of the role `assistant` are judged."""
    columns: dict[str, Any] = {}
    """The data row's columns: `reference`, and what else verifiers and routes read."""


class ScoreRequest(Strict):
    """Rollouts to judge together."""

    rollouts: Annotated[list[RolloutIn], Field(min_length=1)]
    """At most as many as the server's `--max-batch`."""
    step: Annotated[int, Field(ge=0)] = 0
    """The training step, for weight schedules."""


class ScoreOut(Strict):
    """What one verifier or reward says."""

    value: float | None
    """The verdict; null unless the outcome is `scored`."""
    outcome: Outcome
    """`scored`, `skipped` or `failed`."""
    failure: Failure | None
    """Why it failed: `timeout`, `infrastructure`, `verifier` or `reference`."""
    answer: str | None
    """What the verifier took for the completion's answer."""
    explanation: str
    """Why, in words."""
    metadata: dict[str, Any] = {}
    """What else the verifier says; absent if nothing."""
    weight: float
    """The entry's weight at the step."""
    weighted: float | None
    """Weight times value."""
    counted: float | None
    """What the verdict adds to the reward; null if it adds nothing."""
    latency_ms: float
    """What judging took; 0 for a known score."""


class ResultOut(Strict):
    """What the rubric says of one rollout."""

    id: str | int | float | None
    """The rollout's."""
    reward: float | None
    """The weighted sum; null, and never 0, where nothing judged the rollout or a failure leaves its reward unknown."""
    scores: dict[str, ScoreOut]
    """By the entry's name; one that the rollout was not routed to is absent."""


class ScoreResponse(Strict):
    """One result for each rollout, in their order."""

    results: list[ResultOut]
    """As many as there were rollouts."""


class RewardRequest(BaseModel):
    """OpenRLHF's request; keys that other versions send are passed over."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)

    query: Annotated[list[str], Field(min_length=1)]
    """Prompts with their completions, special tokens included."""
    prompts: list[str]
    """The prompts alone."""
    labels: list[Any]
    """The references; a label that is a mapping with the key `reference` holds all columns."""


class RewardResponse(Strict):
    """OpenRLHF's answer."""

    rewards: list[float]
    """The rubric's rewards."""
    scores: list[float]
    """The same: what OpenRLHF's dynamic filtering reads."""
    extra_logs: dict[str, list[float]]
    """Each entry's values before their weights; NaN where it has none."""


class ProblemOut(Strict):
    """One thing that is wrong with a request."""

    loc: list[str | int]
    """Where: `["body", "rollouts", 3, "completion"]`."""
    msg: str
    """What."""
    type: str = "value_error"


class ErrorOut(Strict):
    """Why a request was not answered."""

    detail: str | list[ProblemOut]


class HealthOut(Strict):
    """Whether the server is alive, or ready for more."""

    status: Literal["ok", "full"]
    rubric: list[str]
    """The entries' names."""
    pending: int
    """Rollouts that wait or are being judged."""
