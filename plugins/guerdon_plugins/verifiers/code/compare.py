"""Whether outputs and results are right, judged on plain builtins outside of the process that made them."""

from __future__ import annotations

import math
import re
from typing import Any

_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")


def same_output(actual: str, expected: str, tolerance: float) -> bool:
    """Whether two outputs agree: line by line and token by token, whatever the space between tokens and at both ends.

    Args:
        actual: What the program wrote.
        expected: What it had to write.
        tolerance: How far, relative or absolute, a number may be off where the expected one has a fraction.
    """
    if actual == expected:
        return True
    mine, theirs = actual.strip().split("\n"), expected.strip().split("\n")
    return len(mine) == len(theirs) and all(
        _same_line(own.split(), other.split(), tolerance) for own, other in zip(mine, theirs, strict=True)
    )


def _same_line(actual: list[str], expected: list[str], tolerance: float) -> bool:
    return len(actual) == len(expected) and all(
        own == other or _same_number(own, other, tolerance)
        for own, other in zip(actual, expected, strict=True)
    )


def _same_number(actual: str, expected: str, tolerance: float) -> bool:
    if expected.lstrip("+-").isdigit() or not _FLOAT.fullmatch(expected) or not _FLOAT.fullmatch(actual):
        return False
    return math.isclose(float(actual), float(expected), rel_tol=tolerance, abs_tol=tolerance)


def same_value(actual: Any, expected: Any, tolerance: float) -> bool:
    """Whether a result agrees with a JSON value: tuples count as lists, and floats may be off by the tolerance."""
    if isinstance(expected, list):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(expected)
            and all(same_value(own, other, tolerance) for own, other in zip(actual, expected, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or len(actual) != len(expected):
            return False
        by_text = {str(key): value for key, value in actual.items()}
        return all(
            key in by_text and same_value(by_text[key], value, tolerance) for key, value in expected.items()
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        return actual is expected
    if isinstance(expected, float) or isinstance(actual, float):
        return (
            isinstance(actual, int | float)
            and isinstance(expected, int | float)
            and (actual == expected or math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance))
        )
    return type(actual) is type(expected) and bool(actual == expected)
