"""The values that plugins and the engine exchange. This module has no heavy imports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar

from guerdon.data.json_values import brief, to_json, to_number
from guerdon.data.messages import Messages, completion_text, message_text, tool_calls
from guerdon.errors import CheckFailedError

__all__ = [
    "Failure",
    "Judgement",
    "Judgements",
    "Messages",
    "OnFailure",
    "Outcome",
    "Rollout",
    "Row",
    "Score",
    "Span",
    "ToolCall",
    "Verdict",
    "completion_text",
    "message_text",
    "total_reward",
    "total_usage",
]

Row: TypeAlias = Mapping[str, Any]
"""A data row: ``prompt`` (a string or messages) and any columns that verifiers and stages read."""

_Member = TypeVar("_Member", bound=StrEnum)


class Outcome(StrEnum):
    """How one verifier's check of one completion ended."""

    SCORED = "scored"
    """The verifier gave a value. A wrong answer is scored, with 0."""
    SKIPPED = "skipped"
    """The verifier does not apply to the completion: there is no value, and no failure."""
    FAILED = "failed"
    """The check broke: there is no value. The failure budget counts it. It counts as 0 only if the manifest says so."""


class Failure(StrEnum):
    """Why a score failed."""

    TIMEOUT = "timeout"
    """The verifier did not answer before its deadline and was killed."""
    INFRASTRUCTURE = "infrastructure"
    """An external resource was missing or down: a sandbox, a judge's endpoint.

    A verifier raises ``guerdon.errors.InfrastructureError`` or a ``ConnectionError``, or returns a score with this
    failure.
    """
    VERIFIER = "verifier"
    """The verifier itself broke: it raised, crashed, or returned something that is not a score."""
    REFERENCE = "reference"
    """The reference cannot be read, so no answer can be right or wrong against it."""


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


_NO_METADATA: Mapping[str, Any] = MappingProxyType({})


class Span(NamedTuple):
    """The value of one step of a completion."""

    start: int
    """The place of its first character in ``Rollout.text``."""
    end: int
    """The place after its last character."""
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """One verifier's result for one completion.

    Create one with ``Score(0.5)``, ``Score.skipped("why")`` or ``Score.failed("reference", "why")``. A score is frozen,
    can
    be pickled, and holds only JSON values.

    Raises:
        ValueError: A field has an invalid value, or the fields contradict each other.
    """

    value: float | None
    """The score as a number, by convention in [0, 1]; ``None`` unless the outcome is ``scored``.

    Any finite real number is accepted and kept as a float: an int, a fraction, a number of numpy or torch. A bool is
    refused: a verifier returns it directly, without a ``Score``.
    """
    outcome: Outcome = Outcome.SCORED
    """A member, or its exact text: ``"skipped"``."""
    failure: Failure | None = None
    """A member, or its exact text: ``"reference"``. Set if, and only if, the outcome is ``failed``."""
    answer: str | None = None
    """The completion's answer as the verifier read it. Other types are converted to text."""
    explanation: str = ""
    """The reason, for the reader of the run's log. Other types are converted to text."""
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    """Extra JSON-serialisable data. Values that are not JSON-serialisable are converted to strings.

    Numbers and arrays of numpy become numbers and lists. NaN becomes text.
    """

    parts: Mapping[str, float] = field(default_factory=lambda: _NO_METADATA)
    """The named components of the value, such as ``{"right": 1, "short": 0.5}``. Only a scored Score has parts.

    Each is a metric, and a column of its own for ``multi_objective_aggregation: normalize_then_sum``. How the value is
    made of them is the scorer's choice.
    """
    spans: Sequence[Span] = ()
    """The values of steps of the completion, in order, for process supervision. Only a scored Score has spans."""
    usage: Mapping[str, float] = field(default_factory=lambda: _NO_METADATA)
    """What the check consumed, such as ``{"requests": 1, "input_tokens": 812, "cost": 0.0004}``; 0 or more each.

    Each is a metric, and a failed score may have it too. A cached score has none, because it consumed nothing.
    """

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "outcome", _member(Outcome, self.outcome, "outcome"))
        if self.failure is not None:
            set_field(self, "failure", _member(Failure, self.failure, "failure"))
        if self.outcome is Outcome.SCORED:
            set_field(self, "value", _finite(self.value))
        elif self.value is not None:
            raise ValueError(f"a {self.outcome} Score has no value, got {brief(self.value)}")
        if (self.failure is not None) != (self.outcome is Outcome.FAILED):
            raise ValueError(f"outcome {self.outcome!s} does not go with failure {self.failure!s}")
        if self.answer is not None:
            set_field(self, "answer", _as_text(self.answer, "answer"))
        set_field(self, "explanation", _as_text(self.explanation, "explanation"))
        if self.metadata is not _NO_METADATA:
            set_field(self, "metadata", _json_object(self.metadata))
        if self.parts is not _NO_METADATA:
            set_field(self, "parts", _numbers(self.parts, "part"))
        if self.spans != ():
            set_field(self, "spans", _spans(self.spans))
        if self.usage is not _NO_METADATA:
            set_field(self, "usage", _usage(self.usage))
        if (self.parts or self.spans) and self.outcome is not Outcome.SCORED:
            raise ValueError(f"a {self.outcome} Score has neither parts nor spans")

    @classmethod
    def skipped(cls, explanation: str = "") -> Score:
        """Return the score of a completion that the verifier does not apply to."""
        return cls(None, Outcome.SKIPPED, explanation=explanation)

    @classmethod
    def failed(cls, failure: Failure | str, explanation: str) -> Score:
        """Return the score of a completion that could not be checked. The failure is a member or its text."""
        return cls(None, Outcome.FAILED, _member(Failure, failure, "failure"), explanation=explanation)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as JSON values, without ``metadata``, ``parts``, ``spans`` and ``usage`` if empty."""
        result: dict[str, Any] = {
            "value": self.value,
            "outcome": self.outcome.value,
            "failure": self.failure.value if self.failure else None,
            "answer": self.answer,
            "explanation": self.explanation,
        }
        if self.metadata:
            result["metadata"] = dict(self.metadata)
        if self.parts:
            result["parts"] = dict(self.parts)
        if self.spans:
            result["spans"] = [list(span) for span in self.spans]
        if self.usage:
            result["usage"] = dict(self.usage)
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """Return the score that ``to_dict`` converted."""
        return cls(
            value=data["value"],
            outcome=data["outcome"],
            failure=data.get("failure"),
            answer=data.get("answer"),
            explanation=data.get("explanation", ""),
            metadata=data.get("metadata", _NO_METADATA),
            parts=data.get("parts", _NO_METADATA),
            spans=data.get("spans", ()),
            usage=data.get("usage", _NO_METADATA),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy, such as the default metadata, cannot be pickled.
        fields = (self.value, self.outcome, self.failure, self.answer, self.explanation)
        mappings = dict(self.metadata), dict(self.parts), self.spans, dict(self.usage)
        return type(self), (*fields, *mappings)


def _numbers(given: Any, what: str) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise ValueError(f"a Score's {what} is a mapping of names to numbers, got {brief(given)}")
    found = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"a Score's {what} is named {brief(name)}; give text without a '/'")
        number = to_number(value)
        found[_as_text(name, what)] = _finite(float(number) if isinstance(number, bool) else value)
    return found


def _usage(usage: Any) -> dict[str, float]:
    found = _numbers(usage, "usage")
    for name, amount in found.items():
        if amount < 0:
            raise ValueError(f"a Score's usage '{name}' is {amount:g}; it is 0 or more")
    return found


def _spans(spans: Any) -> tuple[Span, ...]:
    try:
        given = [tuple(span) for span in spans]
    except TypeError:
        raise ValueError(f"a Score's spans are a list of (start, end, value), got {brief(spans)}") from None
    found: list[Span] = []
    for span in given:
        if len(span) != 3:
            raise ValueError(f"a Score's span is (start, end, value), got {brief(span)}")
        start, end = map(to_number, span[:2])
        before = found[-1].end if found else 0
        whole = isinstance(start, int) and isinstance(end, int)
        if not whole or isinstance(start, bool) or not before <= start < end:  # type: ignore[operator]
            raise ValueError(
                f"a Score's span is {brief(span)}; its start and end are whole numbers of characters, the end is after "
                f"the start, and the start is not before the end of the span before it ({before})"
            )
        value = to_number(span[2])
        found.append(Span(start, end, _finite(float(value) if isinstance(value, bool) else span[2])))  # type: ignore[arg-type]
    return tuple(found)


def total_usage(usages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of what several checks consumed, by name."""
    total: dict[str, float] = {}
    for usage in usages:
        for name, amount in usage.items():
            total[name] = total.get(name, 0.0) + amount
    return total


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


def _member(enum: type[_Member], given: Any, name: str) -> _Member:
    if type(given) is enum:
        return given
    try:
        return enum(given)
    except (ValueError, TypeError):
        raise ValueError(f"{name} is {brief(given)}; give one of {', '.join(enum)}") from None


def _finite(value: Any) -> float:
    """Return a score's value as a float, because numbers of other types are not JSON."""
    if type(value) is float and math.isfinite(value):
        return value
    number = to_number(value)
    if number is not None and not isinstance(number, bool):
        try:
            if math.isfinite(float(number)):
                return float(number)
        except (OverflowError, ValueError):  # an integer too large for a float; a signalling NaN
            pass
    raise ValueError(f"a scored Score needs a finite number as its value, got {brief(value)}")


def _as_text(value: Any, name: str) -> str:
    """Return a field as a plain ``str``, because another process may not know a plugin's types."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value if isinstance(value, str) else str(value))
    except Exception as error:  # the conversion runs the plugin's code
        raise ValueError(f"a Score's {name} is text, got {brief(value)}: {type(error).__name__}") from None


def _json_object(metadata: Any) -> dict[str, Any]:
    if type(metadata) is dict and all(type(text) is str for item in metadata.items() for text in item):
        return metadata.copy()  # plain JSON, which most scores hold
    if not isinstance(metadata, Mapping):
        raise ValueError(f"a Score's metadata is a mapping of names to values, got {brief(metadata)}")
    try:
        return dict(to_json(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a Score's metadata cannot be JSON: {brief(error, str)}") from None


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
