"""Declare the members of other libraries that the engine uses, and find those that a version lacks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """A member of another library that may change without notice."""

    name: str
    part: str
    """The part of guerdon that needs it, and that is off without it."""
    purpose: str
    line: int
    """Its line in the version that the engine was written for."""
    parameters: tuple[str, ...] | None = None
    """For a function: the names of its first parameters, besides ``self``."""


def absences(owner: Any, members: Iterable[Member]) -> dict[str, str]:
    """Return the parts that must be off, with what each lacks.

    Args:
        owner: The class, object or module that should have the members.
        members: The required members.
    """
    lacking: dict[str, str] = {}
    for member in members:
        problem = _problem(owner, member)
        if problem is not None:
            lacking.setdefault(member.part, problem)
    return lacking


def _problem(owner: Any, member: Member) -> str | None:
    found: Any = getattr(owner, member.name, _ABSENT)
    if found is _ABSENT:
        return f"there is no {member.name} ({member.purpose})"
    if member.parameters is None:
        return None
    known = [name for name in inspect.signature(found).parameters if name != "self"]
    if tuple(known[: len(member.parameters)]) != member.parameters:
        return (
            f"{member.name} takes {', '.join(known)}, not {', '.join(member.parameters)} ({member.purpose})"
        )
    return None


_ABSENT = object()
