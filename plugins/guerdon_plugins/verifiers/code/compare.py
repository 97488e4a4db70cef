"""Decide whether outputs and results are right, on plain builtins outside the process that produced them."""

from __future__ import annotations

import math
import operator
import re
from decimal import Decimal, InvalidOperation
from numbers import Number, Real
from typing import Any

_WHOLE = re.compile(r"[+-]?[0-9]+")
_FRACTION = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[0-9]+[eE][+-][0-9]+")
"""The notation of numbers with a fraction. ``12e5`` is more likely a name or a hexadecimal number."""
_MAX_DIGITS = 1000
_WHOLE_MAY_BE_OFF = 1e-3
"""The largest distance of a number from an expected ``5.0``, however large both are.

A whole number is rarely a rounded one.
"""
_IN_ANY_CASE = frozenset({"yes", "no"})
"""Verdicts that judges of programming contests accept in any case."""


def same_output(actual: str, expected: str, tolerance: float) -> bool:
    """Return whether two outputs agree by line and token, ignoring the space between tokens and at both ends.

    Args:
        actual: The program's output.
        expected: The expected output.
        tolerance: The largest relative or absolute error of a number if the expected one has a fraction.

    A whole number must be exact, in any notation; ``yes`` and ``no`` may be in any case.
    """
    if actual == expected:
        return True
    mine, theirs = actual.strip().split("\n"), expected.strip().split("\n")
    return len(mine) == len(theirs) and all(
        _same_line(own.split(), other.split(), tolerance) for own, other in zip(mine, theirs, strict=True)
    )


def _same_line(actual: list[str], expected: list[str], tolerance: float) -> bool:
    return len(actual) == len(expected) and all(
        own == other or _same_word(own, other, tolerance) for own, other in zip(actual, expected, strict=True)
    )


def _same_word(actual: str, expected: str, tolerance: float) -> bool:
    if expected.lower() in _IN_ANY_CASE:
        return actual.lower() == expected.lower()
    if max(len(actual), len(expected)) > _MAX_DIGITS:
        return False
    actual_has_fraction, expected_has_fraction = (
        _FRACTION.fullmatch(word) is not None for word in (actual, expected)
    )
    if expected_has_fraction and (actual_has_fraction or _WHOLE.fullmatch(actual)):
        own, other = float(actual), float(expected)
        # Numbers that are too large for a float are all infinite.
        return math.isfinite(other) and _is_close(own, other, tolerance)
    if _WHOLE.fullmatch(expected) and actual_has_fraction:
        try:
            return Decimal(actual) == Decimal(expected)
        except InvalidOperation:  # the exponent is too large
            return False
    return False


def _is_close(actual: float, expected: float, tolerance: float) -> bool:
    if actual == expected:
        return True
    if not math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance):
        return False
    return not expected.is_integer() or abs(actual - expected) <= max(tolerance, _WHOLE_MAY_BE_OFF)


def same_value(actual: Any, expected: Any, tolerance: float) -> bool:
    """Return whether a result agrees with a JSON value. Tuples count as lists; expected floats have the tolerance."""
    if isinstance(expected, list):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(expected)
            and all(same_value(own, other, tolerance) for own, other in zip(actual, expected, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or len(actual) != len(expected):
            return False
        by_text = {_key(key): value for key, value in actual.items()}
        return all(
            key in by_text and same_value(by_text[key], value, tolerance) for key, value in expected.items()
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        return actual is expected
    if isinstance(expected, float):
        return isinstance(actual, Real) and _is_close(float(actual), expected, tolerance)
    if isinstance(expected, int):
        # A float that differs by a half is not close to the expected whole number.
        return isinstance(actual, Number) and bool(operator.eq(actual, expected))
    return type(actual) is type(expected) and bool(actual == expected)


def _key(key: Any) -> str:
    """Return JSON's form of a dict's key."""
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)
