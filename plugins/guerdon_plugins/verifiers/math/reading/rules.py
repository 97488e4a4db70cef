"""Rules that rewrite an answer, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

__all__ = ["Rule", "apply", "replace", "rewrite_whole"]

_Change: TypeAlias = Callable[[str], str]


class Rule(NamedTuple):
    """A change, and what a text must contain for it."""

    signs: tuple[str, ...]
    """The change does nothing to a text with none of these. To look for them is faster than to match a pattern."""
    change: _Change


def apply(rules: Sequence[Rule], text: str) -> str:
    """Return a text after all rules, each of which sees what the one before it left."""
    for signs, change in rules:
        for sign in signs:
            if sign in text:
                text = change(text)
                break
    return text


def replace(pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> _Change:
    """Return the change of each match of a pattern."""
    return partial(pattern.sub, replacement)


def rewrite_whole(pattern: re.Pattern[str], template: str) -> _Change:
    """Return the change of a text that matches a pattern as a whole."""

    def change(text: str) -> str:
        match = pattern.fullmatch(text)
        return match.expand(template) if match else text

    return change
