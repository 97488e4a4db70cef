"""Convert a plugin's return value or exception to a :class:`Score`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.data.json_values import brief, to_number
from guerdon.errors import InfrastructureError
from guerdon.types import Failure, Score


def to_score(returned: Any) -> Score:
    """Return the score for a verifier's return value, or a failed score if the value is invalid."""
    if isinstance(returned, Score):
        return _rebuilt(returned)
    if returned is None:
        return Score.skipped()
    number = to_number(returned)
    if number is None:
        kind = type(returned).__name__
        return _broken(f"returned {brief(returned)} of type {kind}; return a bool, a number, None or a Score")
    try:
        return Score(float(number))
    except (ValueError, OverflowError):
        return _broken(f"returned {brief(number, str)}, which is not a finite number")


def _rebuilt(score: Score) -> Score:
    """Return a plain, validated copy of a score, because a plugin may change its metadata or subclass it."""
    try:
        return Score(
            score.value,
            score.outcome,
            score.failure,
            score.answer,
            score.explanation,
            dict(score.metadata),
            dict(score.parts),
            tuple(score.spans),
            dict(score.usage),
        )
    except Exception as error:  # reading the fields may run the plugin's code
        return _broken(f"returned a Score that cannot be kept: {type(error).__name__}: {brief(error, str)}")


def _broken(explanation: str) -> Score:
    return Score.failed(Failure.VERIFIER, explanation)


def to_scores(returned: Any, expected: int) -> list[Score]:
    """Return the scores for a reward function's return value.

    A list of the wrong length cannot be aligned with its completions, so all of them fail.
    """
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        tolist = getattr(returned, "tolist", None)  # an array or a tensor
        if tolist is None:
            problem = f"returned a {type(returned).__name__}; return a list of numbers or None"
            return [Score.failed(Failure.VERIFIER, problem)] * expected
        returned = tolist()
    if len(returned) != expected:
        problem = (
            f"returned {len(returned)} rewards for {expected} completions; return one for each, in order"
        )
        return [Score.failed(Failure.VERIFIER, problem)] * expected
    return [to_score(value) for value in returned]


def to_failure(error: BaseException) -> Score:
    """Return the failed score for an exception."""
    outside = isinstance(error, InfrastructureError | ConnectionError)
    kind = Failure.INFRASTRUCTURE if outside else Failure.VERIFIER
    return Score.failed(kind, f"{type(error).__name__}: {brief(error, str)}".removesuffix(": "))
