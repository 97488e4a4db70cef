"""What counts as the same output, and as the same value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_plugins.verifiers.code.compare import same_output, same_value

TOLERANCE = 1e-6
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize(
    ("actual", "expected", "same"),
    [
        ("1 2\n", "1 2", True),
        ("1  2 \n\n", "1 2", True),
        ("6\n", "\n6\n", True),
        ("\n \n6", "6", True),
        ("\n1\n\n2", "\n\n1\n2", False),
        ("1\n2", "1 2", False),
        ("1\n\n2", "1\n2", False),
        ("0.3333333", "0.33333333", True),
        ("1", "1.0", True),
        ("1.0", "1", True),
        ("1.5", "1", False),
        ("1000000.9", "1000000", False),
        ("007", "7", False),
        ("0e9", "0e1", False),
        ("1200000", "12e5", False),
        ("123456790012.0", "123456789012.0", False),
        ("1e-05", "0.00001", True),
        ("no", "NO", True),
        ("none", "NONE", False),
        ("2.0000001", "2", False),
        ("1e-7", "0.0", True),
        ("nan", "1.0", False),
        ("inf", "1.5", False),
        ("1e999", "1.5", False),
        ("yes", "YES", True),
        ("", "", True),
        ("", "0", False),
        ("1 2 3", "1 2", False),
        ("1\x00", "1", False),
        ("٠.٥", "0.5", False),
        ("-٥.٠", "-5", False),
        ("1e+400", "2e+400", False),
        ("1e+400", "1e+400", True),
        ("1e+99999999999999999999999", "5", False),
    ],
)
def test_outputs(actual: str, expected: str, same: bool) -> None:
    assert same_output(actual, expected, TOLERANCE) is same


@given(st.text())
def test_an_output_is_itself_whatever_space_is_around_it(text: str) -> None:
    assert same_output(text, text, TOLERANCE)
    assert same_output(f"\n{text.strip()}\n \n", text, TOLERANCE)


@given(st.text(), st.text())
def test_outputs_with_different_words_differ(one: str, other: str) -> None:
    if same_output(one, other, 0.0):
        assert len(one.split()) == len(other.split())


@given(JSON)
def test_a_value_is_itself_also_as_tuples(value: Any) -> None:
    def tuples(part: Any) -> Any:
        if isinstance(part, list):
            return tuple(map(tuples, part))
        if isinstance(part, dict):
            return {key: tuples(item) for key, item in part.items()}
        return part

    assert same_value(value, json.loads(json.dumps(value)), TOLERANCE)
    assert same_value(tuples(value), value, TOLERANCE)


@pytest.mark.parametrize(
    ("actual", "expected", "same"),
    [
        (True, 1, False),
        (1, True, False),
        (1.0, 1, True),
        (1, 1.0, True),
        (1.1, 1, False),
        ("1", 1, False),
        ([1, 2], [1, 2, 3], False),
        ({1: 2}, {"1": 2}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({1, 2}, [1, 2], False),
        ("ab", ["a", "b"], False),
        (None, 0, False),
        (float("nan"), 1.0, False),
    ],
)
def test_values(actual: object, expected: object, same: bool) -> None:
    assert same_value(actual, expected, TOLERANCE) is same
