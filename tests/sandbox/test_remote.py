"""The checker's end of the pipes, with a candidate that may send anything."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guerdon_sandbox.inside.blame import is_blamed
from guerdon_sandbox.inside.candidate import Candidate
from guerdon_sandbox.inside.remote import Remote

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["StopIteration"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("htdszbcinrxoNFDqkvmTa"), inner, max_size=2)
    ),
    max_leaves=12,
)
REPLIES = st.one_of(
    st.lists(st.sampled_from(["value", "raised", "ready", "began", "broken"]) | JSON, max_size=5),
    st.tuples(st.just("value"), JSON, st.lists(JSON, max_size=2), st.just({"d": []})),
    st.tuples(
        st.just("raised"),
        st.text(max_size=5),
        st.text(max_size=5),
        st.lists(
            st.sampled_from(
                ["StopIteration", "OSError", "KeyError", "UnicodeDecodeError", "X", "", "ExceptionGroup"]
            ),
            max_size=4,
        ),
        st.none() | st.lists(JSON, max_size=2),
    ),
)


def framed(*replies: Any) -> bytes:
    bodies = [json.dumps(reply).encode() for reply in replies]
    return b"".join(struct.pack(">I", len(body)) + body for body in bodies)


def candidate(data: bytes) -> Candidate:
    return Candidate(io.BytesIO(data), io.BytesIO(), set())


def ask(one: Candidate, *args: Any) -> Any:
    return Remote(one, "f", "f", "named")(*args)


PLAIN = ("builtins", "datetime", "decimal", "fractions", "collections", "numpy")


def caught(one: Candidate, *args: Any) -> BaseException | None:
    """What a call raises; the result of one that does not is checked."""
    try:
        result = ask(one, *args)
    except BaseException as error:
        return error
    assert isinstance(result, Remote | tuple) or type(result).__module__ in PLAIN
    return None


@given(st.lists(REPLIES, max_size=3))
def test_replies_of_any_form_give_a_value_or_the_candidates_fault(replies: list[Any]) -> None:
    one, xs = candidate(framed(["began"], ["ready"], *replies)), [1, 2]
    for error in (caught(one, xs) for _ in range(3)):
        assert error is None or is_blamed(error)
        assert not isinstance(error, StopIteration | StopAsyncIteration)
    assert xs == [1, 2]


@given(st.binary(max_size=40))
def test_bytes_of_any_form_are_the_candidates_fault(data: bytes) -> None:
    one = candidate(framed(["began"], ["ready"]) + data)
    errors = [error for error in (caught(one) for _ in range(20)) if error is not None]
    assert errors
    assert all(map(is_blamed, errors))
    assert one.fault


@given(st.sampled_from([["broken", "ImportError", "x"], ["began"]]))
def test_only_the_first_frame_speaks_for_the_problem(late: list[str]) -> None:
    one = candidate(framed(["began"], ["ready"], late))
    error = caught(one)
    assert error is not None
    assert is_blamed(error)
    assert not one.unsupported


def test_arguments_are_taken_over_in_tests_of_them_only() -> None:
    reply = ["value", 0, [[]], {"d": []}]
    for in_place, left in ((False, [1]), (True, [])):
        one, xs = candidate(framed(["began"], ["ready"], reply)), [1]
        one.in_place = in_place
        ask(one, xs)
        assert xs == left
