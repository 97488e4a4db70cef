"""The filters of the table of rollouts: from and to a query string."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from guerdon.errors import UsageError
from guerdon.types import Failure, Outcome

SORTS = ("line", "step", "reward", "advantage", "length", "latency", "value")
"""What rollouts can be sorted by; ``value`` is the chosen entry's."""

SIZES = (50, 200)
"""Rollouts a page."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rollouts are shown, in which order. An empty field does not filter."""

    stage: str = ""
    step_min: int | None = None
    step_max: int | None = None
    group: int | None = None
    model: str = ""
    task: str = ""
    prompt: str = ""
    """The digest of a prompt, in hexadecimal."""
    prompt_text: str = ""
    """Words of the prompt, whole and in order."""
    text: str = ""
    """Words of the completion, in the same way."""
    entry: str = ""
    """The entry that the next four fields are about; without one, any entry."""
    outcome: str = ""
    failure: str = ""
    value_min: float | None = None
    value_max: float | None = None
    reward_min: float | None = None
    reward_max: float | None = None
    unscored: bool = False
    """Whether only rollouts without a reward are shown."""
    length_min: int | None = None
    length_max: int | None = None
    sort: str = "line"
    descending: bool = False
    size: int = SIZES[0]
    after: str = ""
    """The last rollout of the page before, as ``key:id``."""
    before: str = ""
    """The first rollout of the page after."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Return the filters in a query string. Unknown names are left out.

        Raises:
            UsageError: A value is not of its field's kind.
        """
        given: dict[str, Any] = {}
        for name, default in asdict(cls()).items():
            text = query.get(name, "").strip()
            if text:
                given[name] = _parsed(name, text, default)
        return cls(**given)

    def query(self, **changes: Any) -> str:
        """Return the filters with changes as a query string, without those that have their default."""
        fields, defaults = asdict(replace(self, **changes)), asdict(type(self)())
        given = {name: value for name, value in fields.items() if value != defaults[name]}
        return urlencode({name: 1 if value is True else value for name, value in given.items()})

    def active(self) -> dict[str, Any]:
        """Return the fields that filter, by name."""
        others = ("sort", "descending", "size", "after", "before")
        defaults = asdict(type(self)())
        return {n: v for n, v in asdict(self).items() if v != defaults[n] and n not in others}


_WHOLE = ("step_min", "step_max", "group", "length_min", "length_max", "size")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sort": SORTS,
    "outcome": tuple(Outcome),
    "failure": tuple(Failure),
}


def _parsed(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return text == "1"
    if name in _WHOLE:
        number = _number(name, text, int)
        if name == "size" and number not in SIZES:
            raise UsageError(f"size is {text:.40}; give one of {', '.join(map(str, SIZES))}.")
        return number
    if default is None:
        return _number(name, text, float)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise UsageError(f"{name} is '{text:.40}'; give one of {', '.join(_CHOICES[name])}.")
    if name == "prompt" and not _is_hex(text):
        raise UsageError(f"prompt is '{text:.40}', which is not the digest of a prompt.")
    if name in ("after", "before"):
        parse_cursor(text)
    return text


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        number = kind(0)
        fits = False
    else:
        fits = math.isfinite(number) if kind is float else abs(number) < 2**62
    if not fits:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} is '{text:.40}', which is not {what}.")
    return number


def _is_hex(text: str) -> bool:
    return len(text) <= 40 and len(text) % 2 == 0 and all(letter in "0123456789abcdef" for letter in text)


def parse_cursor(text: str) -> tuple[float, int]:
    """Return the sort key and the id of a cursor.

    Raises:
        UsageError: It is not a cursor.
    """
    key, _, ident = text.rpartition(":")
    return float(_number("cursor", key, float)), int(_number("cursor", ident, int))
