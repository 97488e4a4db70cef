"""A score: one verifier's result for one completion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from guerdon.data.json_values import brief, to_json, to_number

__all__ = ["Failure", "Outcome", "Score", "Span", "total_usage"]

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
            raise ValueError(f"outcome {self.outcome!s} cannot be combined with failure {self.failure!s}")
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
