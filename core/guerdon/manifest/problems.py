"""The mistakes in a manifest, and the words for what its schema refuses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from guerdon.manifest.schema import (
    VARIANTS,
    ComponentRef,
    EvaluationRef,
    FirstOfRef,
    Manifest,
    MemberRef,
    ModelRef,
    RetryRef,
    RewardRef,
    SourceRef,
    StageRef,
)
from guerdon.plugins.spelling import did_you_mean
from guerdon.plugins.wording import reason_of

__all__ = ["Location", "Problem", "explain", "problem_at"]

Location = tuple[str | int, ...]
"""A place in a manifest: ``("stages", 0, "params", "lr")``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a manifest."""

    line: int
    message: str
    option: str = ""
    """The ``--set`` that made the mistake, if the file did not."""


def _line(lines: Mapping[Location, int], location: Location) -> int:
    """Return the line of a location, or of its nearest ancestor that has a line."""
    around = (location[:length] for length in range(len(location), 0, -1))
    return next((lines[place] for place in around if place in lines), 1)


_MODELS = {
    "init": "base, none, 'stage:<id>', a model's path, a mapping with its 'path', or a list of these",
    "model": "a model's path, or a mapping with its 'path'",
}
"""The keys that name models, with the values that they accept."""

_ENTRIES = frozenset({"data", "rewards", "tools", "environments", "hooks", "first_of"})
"""The keys whose lists have entries with a ``use``."""


def problem_at(
    lines: Mapping[Location, int], options: Mapping[Location, str], location: Location, message: str
) -> Problem:
    """Return a mistake at a location, with its line, or the option that gave it."""
    around = (location[:length] for length in range(len(location), 0, -1))
    return Problem(_line(lines, location), message, next((options[p] for p in around if p in options), ""))


def explain(
    lines: Mapping[Location, int], options: Mapping[Location, str], error: ValidationError
) -> list[Problem]:
    """Return what pydantic refuses, in the order of the lines."""
    found: set[tuple[Location, str]] = set()
    for detail in error.errors(include_url=False):
        location = tuple(part for part in detail["loc"] if part not in VARIANTS)
        spelled = ".".join(str(part) for part in location)
        last = str(location[-1])
        if "weight" in location and detail["type"] != "extra_forbidden":
            # pydantic reports one error for each variant of the union
            location = location[: location.index("weight") + 1]
            message = "'weight' is neither a finite number nor a schedule {step: weight} of steps from 0 on."
            found.add((location, message))
            continue
        if last in ("on_failure", "then"):
            message = f"'{last}' is {detail['input']!r}: give skip, zero or abort"
            if detail["loc"][-2:] == ("FirstOfRef", "on_failure"):
                message += ". For a first_of, set {retry: 2, then: skip} in its members."
            else:
                message += ", or {retry: 2, then: skip}." if last == "on_failure" else "."
            found.add((location, message))
            continue
        key = next((key for key in _MODELS if key in location), None)
        if key is not None and last.startswith(("str", "ModelRef", "list[")):  # variants that failed
            if not isinstance(detail["input"], dict | list) or (
                key == "model" and isinstance(detail["input"], list)
            ):
                location = location[: location.index(key) + 1]
                found.add((location, f"'{key}' is {detail['input']!r}: give {_MODELS[key]}."))
            continue
        if detail["type"] == "extra_forbidden":
            valid = list(_part_at(detail["loc"][:-1]).model_fields)
            hint = did_you_mean(last, valid) or _place_of(last, valid)
            message = f"unknown key '{last}'. Valid: {', '.join(valid)}.{hint}"
        elif detail["type"] == "missing":
            message = f"'{spelled}' is missing."
        elif detail["type"] == "string_pattern_mismatch":
            message = f"'{spelled}' is {detail['input']!r}: use letters, digits, '.', '_' and '-'."
        else:
            reason = reason_of(detail, names_plugin=not _ENTRIES.isdisjoint(location[-2:]))
            message = f"'{spelled}' is {detail['input']!r}: {reason}."
        found.add((location, message))
    problems = {problem_at(lines, options, location, message) for location, message in found}
    return sorted(problems, key=lambda problem: (problem.line, problem.message))


_PLACES: Mapping[str, type[BaseModel]] = {
    "the manifest, beside 'stages'": Manifest,
    "a stage, in the list 'stages'": StageRef,
    "an entry of 'rewards'": RewardRef,
    "an entry of 'data'": SourceRef,
    "a stage's 'evaluation'": EvaluationRef,
}


def _place_of(key: str, valid: Collection[str]) -> str:
    """Return where a key belongs that is not valid where it is, as sentences after a space, or nothing."""
    place = next((place for place, part in _PLACES.items() if key in part.model_fields), None)
    params = " Params of the plugin belong under 'params'." if "params" in valid else ""
    return ("" if place is None else f" '{key}' is a key of {place}.") + params


def _part_at(location: Location) -> type[BaseModel]:
    """Return the schema class whose keys are at a location."""
    parts: dict[str | int, type[BaseModel]] = {
        "stages": StageRef,
        "evaluation": EvaluationRef,
        "data": SourceRef,
        "rewards": RewardRef,
        "FirstOfRef": FirstOfRef,
        "first_of": MemberRef,
        "on_failure": RetryRef,
        "hooks": ComponentRef,
        "model": ModelRef,
        "init": ModelRef,
    }
    named = [parts[part] for part in location if part in parts]
    return named[-1] if named else Manifest
