"""Answers to cases that are asked for before the call that they belong to, such as while others are generated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from guerdon.types import Score

__all__ = ["EarlyAnswers", "KnownAnswers", "answers_as_json", "answers_from_json", "has_key"]

_Answer = TypeVar("_Answer")

KnownAnswers: TypeAlias = Mapping[str, tuple[Score | Sequence[Score], float]]
"""By a case's key: its score, or those of a group's completions, and the latency in milliseconds."""


class EarlyAnswers(Generic[_Answer]):
    """Each answer with its latency in milliseconds, by the case's key, until a call takes it.

    A score's cache keeps neither failures, usage nor times. These are kept here, so that a call with early answers
    gives the same verdicts as a call that asks itself.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[_Answer, float]] = {}

    def known(self, keys: Iterable[str], early: bool) -> dict[str, tuple[_Answer, float]]:
        """Return the answers that are known, by key.

        Args:
            keys: The cases' keys.
            early: Whether another early call asks. If not, the answers are taken out: a retry asks again.
        """
        find = self._answers.get if early else self._answers.pop
        return {key: answer for key in keys if (answer := find(key, None)) is not None}

    def keep(self, answers: Mapping[str, tuple[_Answer, float]]) -> None:
        """Keep answers for the call to come."""
        self._answers |= answers

    def take(self) -> dict[str, tuple[_Answer, float]]:
        """Take all answers out."""
        answers, self._answers = self._answers, {}
        return answers


def answers_as_json(answers: KnownAnswers) -> dict[str, Any]:
    """Return answers as JSON values."""

    def as_json(answer: Score | Sequence[Score]) -> Any:
        return answer.to_dict() if isinstance(answer, Score) else [score.to_dict() for score in answer]

    return {key: [as_json(answer), latency_ms] for key, (answer, latency_ms) in answers.items()}


def answers_from_json(values: Mapping[str, Any]) -> KnownAnswers:
    """Return the answers that ``answers_as_json`` wrote."""

    def answer_of(value: Any) -> Score | Sequence[Score]:
        return list(map(Score.from_dict, value)) if isinstance(value, list) else Score.from_dict(value)

    return {key: (answer_of(value), latency_ms) for key, (value, latency_ms) in values.items()}


def has_key(columns: Mapping[str, Any]) -> bool:
    """Return whether a rollout's columns have a canonical text, so that the later call finds its cases."""
    try:
        json.dumps(columns, sort_keys=True)
    except (TypeError, ValueError):
        return False
    return True
