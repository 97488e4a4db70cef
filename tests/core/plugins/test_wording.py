"""Mistakes in values are told in the words of a manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from guerdon.plugins.wording import reasons_of

KINDS: Sequence[Any] = (
    *(int, float, bool, str, None, int | None, int | str, float | list[int], list[str], dict[str, float]),
    *(Literal["a", "b"], tuple[int, int], Sequence[str], set[int]),
    *(Annotated[int, Gt(0)], Annotated[float, Ge(1), Le(2)], Annotated[int, Lt(3)]),
)
"""Types that params and keys of a manifest have."""


def reason(kind: Any, value: Any, *, strict: bool = False) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, strict=strict)
    return reasons_of(caught.value.errors())


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, "x", "give a whole number"),
        (int, 1.5, "give a whole number"),
        (int, float("inf"), "give a finite number"),
        (float, "x", "give a number"),
        (bool, "x", "give true or false"),
        (str, 3, "give text"),
        (None, 3, "give null"),
        (Literal["a", "b"], "c", "give 'a' or 'b'"),
        (int | None, "x", "give a whole number"),
        (int | list[int], "x", "give a whole number, or give a list, such as [x]"),
        (list[int], True, "give a list, such as [true]"),
        (Sequence[str], "x", "give a list, such as [x]"),
        (dict[str, int], 3, "give a mapping, such as {key: value}"),
        (Annotated[int, Gt(0)], 0, "give a number above 0"),
        (Annotated[float, Gt(0.0)], 0, "give a number above 0"),
        (Annotated[float, Lt(0.5)], 1, "give a number below 0.5"),
        (Annotated[int, Ge(1)], 0, "give a number of at least 1"),
        (Annotated[int, Lt(3)], 3, "give a number below 3"),
        (Annotated[int, Le(2)], 3, "give a number of at most 2"),
        (tuple[int, int], [1], "give all items"),
    ],
)
def test_reasons_of_a_wrong_value_say_what_to_give(kind: Any, value: Any, expected: str) -> None:
    assert reason(kind, value) == expected


@given(
    st.sampled_from(KINDS),
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text()),
    st.booleans(),
)
def test_reasons_of_any_value_have_no_words_of_pydantic(kind: Any, value: Any, strict: bool) -> None:
    details: Sequence[Any] = ()
    try:
        TypeAdapter(kind).validate_python(value, strict=strict)
    except ValidationError as caught:
        details = caught.errors()
    assert not re.search(r"Input should|Value error|valid integer|valid number", reasons_of(details))
