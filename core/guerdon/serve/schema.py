"""The schema of the server's requests and answers. An unknown key is an error."""

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
    """Text, or typed blocks, of which only those of type `text` count."""


class ToolCallIn(BaseModel):
    """One call of a tool, as in a run's `rollouts.jsonl`."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)

    name: str
    arguments: Any = None
    """The arguments by name."""
    result: str | None = None
    """The text that the model read."""
    failure: str | None = None
    """Why the call failed; null for a call that worked."""
    turn: Annotated[int, Field(ge=0)] = 0
    """The assistant's turn that made the call, from 0."""


class RolloutIn(Strict):
    """One completion to judge."""

    id: str | int | float | None = None
    """An identifier of the rollout, which the answer repeats."""
    prompt: str | list[Message] = ""
    """The prompt of the completion."""
    completion: str | list[Message]
    """The model's text, or turns, of which only those with the role `assistant` are judged."""
    group: str | int | None = None
    """The group of the rollout, for group rewards: the completions of one prompt, all in one request."""
    columns: dict[str, Any] = {}
    """The data row's columns: `reference`, and others that verifiers and routes read."""
    tool_calls: list[ToolCallIn] | None = None
    """The calls of tools; by default those that the completion's messages show."""
    environment: dict[str, Any] | None = None
    """The final state of the rollout's environment."""
    environment_reward: float | None = None
    """The environment's own reward."""
    broken: str | None = None
    """Why the rollout's environment was lost. Every score of such a rollout is an infrastructure failure."""


class ScoreRequest(Strict):
    """Rollouts to judge together."""

    rollouts: Annotated[list[RolloutIn], Field(min_length=1)]
    """At most as many as the server's `--max-batch`."""
    step: Annotated[int, Field(ge=0)] = 0
    """The training step, for weight schedules."""


class ScoreOut(Strict):
    """The score of one verifier or reward."""

    value: float | None
    """The score's value; null unless the outcome is `scored`."""
    outcome: Outcome
    """`scored`, `skipped` or `failed`."""
    failure: Failure | None
    """The kind of failure: `timeout`, `infrastructure`, `verifier` or `reference`."""
    answer: str | None
    """The completion's answer, as the verifier read it."""
    explanation: str
    """The reason, in words."""
    metadata: dict[str, Any] = {}
    """Other data of the verifier; absent if there is none."""
    parts: dict[str, float] = {}
    """The named components of the value; absent if there are none."""
    spans: list[tuple[int, int, float]] = []
    """The steps of the completion, each with its start, its end and its value; absent if there are none."""
    usage: dict[str, float] = {}
    """What the check consumed, such as tokens; absent if nothing."""
    weight: float
    """The entry's weight at the step."""
    weighted: float | None
    """Weight times value."""
    counted: float | None
    """The contribution to the reward; null if there is none."""
    latency_ms: float
    """The time of the check; 0 for a cached score."""
    tries: int = 1
    """How often the entry was asked; absent if once. 0 if other verdicts decided."""


class ResultOut(Strict):
    """The rubric's result for one rollout."""

    id: str | int | float | None
    """The rollout's `id`."""
    reward: float | None
    """The weighted sum; null, and never 0, if nothing judged the rollout or a failure makes its reward unknown."""
    scores: dict[str, ScoreOut]
    """The scores by entry name. Entries that the rollout was not routed to are absent."""


class ScoreResponse(Strict):
    """One result for each rollout, in their order."""

    results: list[ResultOut]
    """The results, in the order of the rollouts."""


class RewardRequest(BaseModel):
    """OpenRLHF's request; keys of other versions are ignored."""

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
    """The same values, which OpenRLHF's dynamic filtering reads."""
    extra_logs: dict[str, list[float]]
    """Each entry's values before weighting; NaN if it has none."""


class VerifyRequest(BaseModel):
    """A row of NeMo Gym with the model's response; the other keys are the row's columns."""

    model_config = ConfigDict(extra="allow", strict=True, use_attribute_docstrings=True)

    responses_create_params: dict[str, Any]
    """What the model was asked: `input`, and `instructions`."""
    response: dict[str, Any]
    """The response of OpenAI's Responses API; `output` has the items of the model and of the tools."""


class VerifyResponse(VerifyRequest):
    """The request, with what NeMo Gym reads of a result."""

    reward: float
    """The rubric's reward."""
    guerdon: dict[str, ScoreOut]
    """The scores by entry name."""


class ResultIn(BaseModel):
    """One answer to `/verify`, without the conversation."""

    model_config = ConfigDict(extra="allow", strict=True, use_attribute_docstrings=True)

    task: int = Field(0, alias="_ng_task_index")
    """The number of the row."""


class AggregateRequest(BaseModel):
    """All results of a collection of NeMo Gym."""

    verify_responses: list[ResultIn]


class AggregateOut(Strict):
    """Statistics of the results, as NeMo Gym's own servers name them."""

    group_level_metrics: list[dict[str, Any]]
    """Those of each task."""
    agent_metrics: dict[str, float]
    """Those of all results: `mean/reward`, and the same of each number in the answers."""
    key_metrics: dict[str, float]
    """The means of the reward and of the rubric's entries."""


class ProblemOut(Strict):
    """One mistake in a request."""

    loc: list[str | int]
    """The location: `["body", "rollouts", 3, "completion"]`."""
    msg: str
    """The message."""
    type: str = "value_error"


class ErrorOut(Strict):
    """Why a request was not answered."""

    detail: str | list[ProblemOut]


class HealthOut(Strict):
    """Whether the server is alive, or has capacity."""

    status: Literal["ok", "full"]
    rubric: list[str]
    """The entries' names."""
    pending: int
    """The number of rollouts that wait or are being judged."""


class FingerprintOut(Strict):
    """What the server scores with."""

    fingerprint: str
    """The digest of the rubric: its plugins, versions, params, weights and rules. Every answer has it in the header
    `x-guerdon-fingerprint`, too."""
    rubric: list[str]
    """The entries' names."""
    compares_completions: bool
    """Whether a group reward or a reward function may compare the completions of a request."""
