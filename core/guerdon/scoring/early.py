"""Answers to cases that are asked for before the call that they belong to, such as while others are generated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["EarlyAnswers", "has_key"]

_Answer = TypeVar("_Answer")


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


def has_key(columns: Mapping[str, Any]) -> bool:
    """Return whether a rollout's columns have a canonical text, so that the later call finds its cases."""
    try:
        json.dumps(columns, sort_keys=True)
    except (TypeError, ValueError):
        return False
    return True
