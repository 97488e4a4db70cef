"""Criteria of a judge: read from a manifest or a row, and turned into one value."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from statistics import fmean
from types import MappingProxyType
from typing import Any

YES_NO: Mapping[str, float] = MappingProxyType({"no": 0.0, "yes": 1.0})

_KEYS = ("text", "weight", "choices", "name")

_ALIASES = {"criterion": "text", "description": "text", "points": "weight"}
"""Keys of public data sets: HealthBench's criterion and points, and the description of Rubrics as Rewards."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that the judge decides about a reply."""

    text: str
    weight: float = 1.0
    """What meeting it adds. A negative criterion names a fault."""
    choices: Mapping[str, float] = field(default_factory=lambda: YES_NO)
    """The points of each choice, from 0 to 1."""
    name: str | None = None
    """The name of its part of the score; without one, it is not a part."""


def manifest_criteria(given: Sequence[Any]) -> list[Criterion]:
    """Return a manifest's criteria. One without a name is named by its number.

    Raises:
        ValueError: One is not a criterion, has an unknown key, or has another's name.
    """
    found = []
    for number, one in enumerate(given, start=1):
        if isinstance(one, Mapping) and (unknown := [key for key in one if key not in (*_KEYS, *_ALIASES)]):
            near = get_close_matches(str(unknown[0]), _KEYS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"criterion {number} has the key '{unknown[0]}'.{hint} Valid: {', '.join(_KEYS)}"
            )
        criterion = _criterion(one, number)
        found.append(
            Criterion(
                criterion.text, criterion.weight, criterion.choices, criterion.name or f"criterion_{number}"
            )
        )
    check_names(found)
    return found


def row_criteria(value: Any) -> list[Criterion]:
    """Return a row's criteria: a list of texts and mappings, or such a list as JSON. Unknown keys are ignored.

    Raises:
        ValueError: The value is something else, or one is not a criterion.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("it is text, and not a JSON list") from None
    if isinstance(value, Mapping):
        raise ValueError("it is one mapping; give a list of criteria")
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"it is {value!r:.60}; give a list of criteria")
    found = [_criterion(one, number) for number, one in enumerate(value, start=1)]
    check_names(found)
    return found


def _criterion(one: Any, number: int) -> Criterion:
    if isinstance(one, str):
        one = {"text": one}
    if not isinstance(one, Mapping):
        raise ValueError(f"criterion {number} is {one!r:.60}; give a text, or a mapping with 'text'")
    known: dict[str, Any] = {}
    for key, value in one.items():
        if (name := _ALIASES.get(key, key)) in _KEYS and value is not None:
            if name in known:
                raise ValueError(f"criterion {number} gives its {name} twice, also as '{key}'")
            known[name] = value
    text = known.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"criterion {number} has no 'text', only {', '.join(map(str, one)) or 'nothing'}")
    name = known.get("name")
    if name is not None and (not isinstance(name, str) or not name.strip() or "/" in name):
        raise ValueError(f"the name of criterion {number} is {name!r:.60}; give text without a '/'")
    weight = _number(known.get("weight", 1.0))
    if weight is None or weight == 0:
        raise ValueError(
            f"the weight of criterion {number} is {known['weight']!r:.60}; give a number except 0"
        )
    return Criterion(text.strip(), weight, _choices(known.get("choices", YES_NO), number), name)


def _choices(given: Any, number: int) -> Mapping[str, float]:
    if not isinstance(given, Mapping) or not all(isinstance(choice, str) and choice for choice in given):
        raise ValueError(
            f"the choices of criterion {number} are {given!r:.60}; give texts with points: {{bad: 0, good: 1}}"
        )
    points = {choice: _number(value) for choice, value in given.items()}
    known = [value for value in points.values() if value is not None and 0 <= value <= 1]
    if len(known) < len(points) or len(set(known)) < 2:
        raise ValueError(
            f"the choices of criterion {number} have the points {', '.join(map(str, given.values()))}; give numbers "
            "from 0 to 1, not all equal"
        )
    return {choice: value for choice, value in points.items() if value is not None}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def check_names(criteria: Iterable[Criterion]) -> None:
    """Raise if two criteria have one name.

    Raises:
        ValueError: Two have one.
    """
    names = [criterion.name for criterion in criteria if criterion.name is not None]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"several criteria are named '{repeated}'; give each a name of its own")


def kept(criteria: Sequence[Criterion], dropout: float, seed: int, prompt: str) -> list[Criterion]:
    """Return the criteria that count for a prompt: each is left out with the probability ``dropout``.

    The choice depends on the seed, the prompt and the criterion's text alone, so all completions of a prompt are graded
    by the same criteria. If none with a positive weight would be left, one is kept.
    """
    if dropout == 0:
        return list(criteria)
    draws = [_draw(seed, prompt, criterion.text) for criterion in criteria]
    left = [draw >= dropout for draw in draws]
    positive = [index for index, criterion in enumerate(criteria) if criterion.weight > 0]
    candidates = positive or range(len(criteria))
    if not any(left[index] for index in candidates):
        left[max(candidates, key=draws.__getitem__)] = True
    return [criterion for criterion, stays in zip(criteria, left, strict=True) if stays]


def _draw(seed: int, prompt: str, text: str) -> float:
    """Return a number in [0, 1) that a digest of the arguments decides."""
    content = json.dumps([seed, prompt, text]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:7]) / 2**56


def total(criteria: Sequence[Criterion], points: Sequence[float]) -> float:
    """Return the value of a reply's points: their weighted sum over the sum of the positive weights, within [0, 1].

    This is the score of HealthBench (arXiv 2505.08775), and the explicit aggregation of Rubrics as Rewards (arXiv
    2507.17746). A reply begins with the full value where all criteria name faults.
    """
    weights = [criterion.weight for criterion in criteria]
    best = math.fsum(weight for weight in weights if weight > 0)
    sums = math.fsum(weight * point for weight, point in zip(weights, points, strict=True))
    if best == 0:
        return 1.0 + sums / -math.fsum(weights)
    return min(max(sums / best, 0.0), 1.0)


def signed_parts(criteria: Sequence[Criterion], points: Sequence[float]) -> dict[str, float]:
    """Return the points by name, those of negative criteria as negative numbers."""
    return {
        criterion.name: math.copysign(point, criterion.weight) if point else 0.0
        for criterion, point in zip(criteria, points, strict=True)
        if criterion.name is not None
    }


def voted(values: Sequence[float], vote: str) -> float:
    """Return the value of several votes: their mean, or the most frequent one.

    Of values that are equally frequent, the mean counts.
    """
    if vote == "mean":
        return fmean(values)
    counts = {value: values.count(value) for value in values}
    most = max(counts.values())
    return fmean(value for value, count in counts.items() if count == most)
