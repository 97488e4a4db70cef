"""Read the arguments and results of calls, which data sets keep as JSON and as text."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from typing import Any

from guerdon_plugins.verifiers.code.cases import FunctionCase, FunctionTests


def function_tests(names: Sequence[str], inputs: Sequence[Any], outputs: Sequence[Any]) -> FunctionTests:
    """Return the tests of calls, with every reading of their arguments."""
    accepted = [_accepted(output) for output in outputs]
    first, *others = [
        [FunctionCase(*case) for case in zip(names, arguments, accepted, strict=True)]
        for arguments in _with_number_keys(_readings(inputs))
    ]
    return FunctionTests(first, others)


def _with_number_keys(readings: list[list[list[Any]]]) -> list[list[list[Any]]]:
    """Add the reading in which the keys of dicts are numbers, which JSON had turned into text."""
    converted = _number_keys(readings[0])
    return readings if converted == readings[0] else [*readings, converted]


def _number_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_number_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if keys and all(re.fullmatch(r"-?\d+", key) for key in keys):
        return {int(key): _number_keys(item) for key, item in value.items()}
    return {key: _number_keys(item) for key, item in value.items()}


def _readings(inputs: Sequence[Any]) -> list[list[list[Any]]]:
    """Return the possible readings of the arguments of every call, one or two, the more likely first.

    Text columns hold JSON: a list of the arguments, or LiveCodeBench's one argument per line. A line ``[1, 2]`` may be
    either, and ``5`` may be the text itself.
    """
    if not all(isinstance(given, str) for given in inputs):
        return [[given if isinstance(given, list) else [given] for given in inputs]]
    readings = [[[text] for text in inputs]]
    with contextlib.suppress(ValueError):
        readings.insert(
            0, [[json.loads(line) for line in text.split("\n") if line.strip()] for text in inputs]
        )
    with contextlib.suppress(ValueError):
        lists = [json.loads(text) for text in inputs]
        if all(isinstance(args, list) for args in lists):
            # Lists of different lengths are more likely one argument each, because a function has a fixed number of
            # them.
            readings.insert(len({len(args) for args in lists}) > 1, lists)
    return readings[:2]


def _accepted(expected: Any) -> list[Any]:
    """Return the right results: the value itself, parsed as JSON, and without the one-item list of some data sets."""
    accepted = [expected]
    if isinstance(expected, str):
        with contextlib.suppress(ValueError):
            accepted.append(json.loads(expected))
    if isinstance(accepted[-1], list) and len(accepted[-1]) == 1:
        accepted += accepted[-1]
    return accepted
