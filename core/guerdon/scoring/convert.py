"""From what a plugin returns or raises to a :class:`Score`."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import InfrastructureError, one_line
from guerdon.types import Failure, Score


def to_score(returned: Any) -> Score:
    """The score that a verifier's return value stands for; a value that stands for none is a failed score."""
    if isinstance(returned, Score):
        return _plain(returned)
    if returned is None:
        return Score.skipped()
    if isinstance(returned, bool | numbers.Real) or type(returned).__module__ == "numpy":
        value = float(returned)
        if math.isfinite(value):
            return Score(value)
        return Score.failed(Failure.VERIFIER, f"returned {value}, which is not a finite number")
    return Score.failed(
        Failure.VERIFIER,
        f"returned {_brief(returned)} of type {type(returned).__name__}; return a bool, a number, None or a Score",
    )


def to_scores(returned: Any, expected: int) -> list[Score]:
    """The scores that a reward function's return value stands for.

    A list of the wrong length cannot be aligned with its completions, so every one of them fails.
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
    """The failed score that a raised exception stands for."""
    outside = isinstance(error, InfrastructureError | ConnectionError)
    kind = Failure.INFRASTRUCTURE if outside else Failure.VERIFIER
    return Score.failed(kind, f"{type(error).__name__}: {_brief(error, str)}")


def to_json(value: Any) -> Any:
    """The value as JSON can say it; what JSON cannot say, as text.

    Raises:
        ValueError, TypeError: It contains itself, or a mapping in it has keys that no text stands for.
    """
    return json.loads(json.dumps(value, default=_sayable), parse_constant=lambda name: str(float(name)))


def _sayable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)  # a number or an array of numpy's or torch's
    return tolist() if callable(tolist) else _brief(value, str)


def _plain(score: Score) -> Score:
    """The score with nothing in it but JSON values: another process may not know the plugin's types."""
    try:
        answer = None if score.answer is None else str(score.answer)
        metadata = to_json(score.metadata)
        return Score(score.value, score.outcome, score.failure, answer, str(score.explanation), metadata)
    except Exception as error:  # making text of them runs the plugin's own code
        return Score.failed(
            Failure.VERIFIER,
            f"returned a Score that is no JSON: {type(error).__name__}: {_brief(error, str)}",
        )


def _brief(value: Any, render: Any = repr) -> str:
    """A short rendering that neither raises nor grows with the value."""
    try:
        text = one_line(render(value))
    except Exception as error:
        return f"<{type(value).__name__} whose text cannot be made: {type(error).__name__}>"
    return text if len(text) <= 300 else f"{text[:300]}…"
