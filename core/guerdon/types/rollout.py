"""A rollout: a prompt, a completion, and its data row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guerdon.data.json_values import to_json
from guerdon.data.messages import Messages, completion_text, tool_calls

__all__ = ["Rollout", "Row", "ToolCall"]

Row: TypeAlias = Mapping[str, Any]
"""A data row: ``prompt`` (a string or messages) and any columns that verifiers and stages read."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool that the model made, with its result."""

    name: str
    arguments: Any
    """The arguments by name, as the model wrote them; another value if it wrote no mapping."""
    result: str | None = None
    """The text that the model read; ``None`` if the rollout ended before the call."""
    failure: str | None = None
    """``error`` (the tool raised), ``timeout``, ``crash``, ``arguments`` (they do not fit), ``unknown`` (there is no
    such tool), or ``broken`` (the environment was lost); ``None`` for a call that worked."""
    turn: int = 0
    """The assistant's turn that made the call, from 0."""
    latency_ms: float = 0.0
    """Wall time of the call in milliseconds."""

    def for_scorer(self) -> dict[str, Any]:
        """Return the call as JSON values, without its time, which no score may depend on."""
        return {
            "name": self.name,
            "arguments": to_json(self.arguments),
            "result": self.result,
            "failure": self.failure,
            "turn": self.turn,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the call as JSON values, as in ``rollouts.jsonl``."""
        return {**self.for_scorer(), "latency_ms": round(self.latency_ms, 3)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolCall:
        """Return the call that ``to_dict`` converted."""
        return cls(
            name=str(data.get("name", "")),
            arguments=data.get("arguments"),
            result=data.get("result"),
            failure=data.get("failure"),
            turn=int(data.get("turn", 0)),
            latency_ms=float(data.get("latency_ms", 0.0)),
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt, one sampled completion, and the data row that they belong to."""

    prompt: str | Messages
    completion: str | Messages
    columns: Row = field(default_factory=dict)
    """The data row's other columns, including ``reference``."""
    completion_ids: Sequence[int] = ()
    """The completion's token ids; empty if only the text is known."""
    calls: Sequence[ToolCall] | None = None
    """The calls of tools with failures and times; ``None`` if only the messages are known."""
    environment: Mapping[str, Any] | None = None
    """The final state of the rollout's environment, as JSON values; ``None`` without an environment."""
    environment_reward: float | None = None
    """The value of the environment's ``get_reward``, if it has one."""
    broken: str | None = None
    """Why the rollout's environment was lost. Such a rollout cannot be scored: every score is ``infrastructure``."""

    @property
    def messages(self) -> Messages:
        """Return all turns of the completion: the model's and the tools'. A text is one turn of the model."""
        if isinstance(self.completion, str):
            return [{"role": "assistant", "content": self.completion}]
        return self.completion

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """Return the calls of tools: those that were recorded, otherwise those that the messages show."""
        if self.calls is not None:
            return self.calls
        return [ToolCall(**call) for call in tool_calls(self.messages)]

    @property
    def text(self) -> str:
        """Return the text that the model wrote in the completion, which a verifier gets."""
        return completion_text(self.completion)
