"""Values cross as plain builtins, whatever the other side does."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import enum
import ipaddress
import json
import math
import types
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_sandbox.codec import MAX_COLLISIONS, CodecError, Opaque, _Decoder, dumps, loads

P = collections.namedtuple("P", "x y")

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters()),
    st.binary(),
    st.complex_numbers(allow_nan=False),
)
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("htdszbcinrxoNFDqkvmTaLeB"), inner, max_size=2)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_plain_values_arrive_as_they_were(value: Any) -> None:
    arrived = loads(dumps(value))
    assert arrived == value
    assert repr(type(arrived)) == repr(type(value))


STANDARD = st.one_of(
    st.fractions(),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.times(),
    st.timedeltas(),
    st.lists(ATOMS, max_size=3).map(collections.deque),
)


@given(STANDARD)
def test_values_of_the_standard_library_arrive_as_they_were(value: Any) -> None:
    arrived = loads(dumps([value]))
    assert arrived == [value]
    assert type(arrived[0]) is type(value)


@pytest.mark.parametrize("inside", [False, True])
@given(JSON)
def test_any_json_is_a_value_or_a_codec_error_in_the_box_too(inside: bool, data: Any) -> None:
    with contextlib.suppress(CodecError):
        loads(json.dumps(data).encode(), inside=inside)


def test_named_tuples_and_arrays_are_made_again_inside_only() -> None:
    point = P(1, 2)
    assert loads(dumps(point), inside=True).y == 2
    assert type(loads(dumps(point))) is tuple
    numpy = pytest.importorskip("numpy")
    array = numpy.array([[1.5]], dtype="f4")
    assert loads(dumps(array)) == [[1.5]]
    assert loads(dumps(array), inside=True).dtype == array.dtype


LIBRARY: list[Any] = [
    collections.Counter("aab"),
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, {1: [2]}),
    Path("a/b"),
    uuid.UUID(int=7),
    ipaddress.ip_network("10.0.0.0/8"),
    types.SimpleNamespace(x=1),
    array.array("i", [1, 2]),
    slice(1, None, 2),
    bytearray(b"x"),
]


@pytest.mark.parametrize("value", LIBRARY, ids=lambda value: type(value).__name__)
def test_objects_of_the_standard_library_arrive_as_they_were_inside(value: Any) -> None:
    arrived = loads(dumps(value), inside=True)
    assert arrived == value
    assert type(arrived) is type(value)
    if isinstance(value, dict):
        assert list(arrived) == list(value)
        assert type(loads(dumps(value))) is dict


def test_frames_arrive_as_they_were_inside() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "n": [1, 2],
            "x": [0.5, math.nan],
            "o": ["a", None],
            "s": pandas.array([1, None], dtype="Int64"),
            "c": pandas.Categorical(["u", "v"], ordered=True),
            "t": pandas.to_datetime(["2020-01-01", None]),
            "z": pandas.to_datetime(["2020-01-01", "2021-01-01"], utc=True),
        },
        index=pandas.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["k", None]),
    )
    pandas.testing.assert_frame_equal(loads(dumps(frame), inside=True), frame)
    days = pandas.Series([1, 2], index=pandas.date_range("2020-01-01", periods=2), name="d")
    pandas.testing.assert_series_equal(loads(dumps(days), inside=True), days)
    moment = pandas.Timestamp("2020-01-01 10:00", tz="Europe/Paris")
    assert loads(dumps(moment), inside=True) == moment
    assert isinstance(loads(dumps(frame)), Opaque)


@given(st.binary())
def test_any_bytes_are_a_value_or_a_codec_error(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        loads(data)


@given(JSON)
def test_any_json_is_a_value_or_a_codec_error(data: Any) -> None:
    with contextlib.suppress(CodecError):
        loads(json.dumps(data).encode())


def test_what_json_lacks_arrives() -> None:
    assert math.isnan(loads(dumps(math.nan)))
    assert loads(dumps(-math.inf)) == -math.inf
    assert loads(dumps(10**6000)) == 10**6000
    assert loads(dumps(range(3, 9, 2))) == range(3, 9, 2)
    assert loads(dumps("\ud800")) == "\ud800"
    assert loads(dumps({1: 2}.keys())) == {1}
    assert list(loads(dumps({1: 2}.values()))) == [2]
    assert set(loads(dumps({1: 2}.items()))) == {(1, 2)}
    assert isinstance(loads(dumps(iter([1, 2]))), Opaque)


class Always(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Lying(list):  # type: ignore[type-arg]
    def __eq__(self, other: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter("something else")


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Always(5), 5),
        (Lying([1, 2]), [1, 2]),
        (Colour.RED, 1),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (P(1, 2), (1, 2)),
    ],
)
def test_subclasses_arrive_as_the_builtin(value: object, plain: object) -> None:
    arrived = loads(dumps(value))
    assert type(arrived) is type(plain)
    assert plain == arrived


def test_other_objects_equal_nothing() -> None:
    class Anything:
        def __eq__(self, other: object) -> bool:
            return True

    arrived = loads(dumps(Anything()))
    assert isinstance(arrived, Opaque)
    assert arrived != 5  # type: ignore[comparison-overlap]
    assert arrived != Opaque("Anything")


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(CodecError, match="contains itself"):
        dumps(value)


def test_sets_made_of_collisions_are_refused() -> None:
    crafted = [n * (2**61 - 1) for n in range(MAX_COLLISIONS + 2)]
    for value in (set(crafted), frozenset(crafted), dict.fromkeys(crafted)):
        with pytest.raises(CodecError, match="collide"):
            loads(dumps(value))
    assert loads(dumps(set(range(100_000)))) == set(range(100_000))


BODIES: list[Any] = [
    None,
    True,
    0,
    -1,
    "",
    "x",
    "1",
    [],
    [[]],
    [None],
    ["x"],
    ["1"],
    [1, 2],
    ["1", "0"],
    ["x", []],
    [[], []],
    {},
]


@pytest.mark.parametrize("tag", sorted(_Decoder._TAGS))
@pytest.mark.parametrize("inside", [False, True])
def test_loads_of_any_body_of_a_tag_gives_a_value_or_a_codec_error(tag: str, inside: bool) -> None:
    for body in BODIES:
        with contextlib.suppress(CodecError):
            loads(json.dumps({tag: body}).encode(), inside=inside)


@pytest.mark.parametrize("body", [[], ["1"]])
def test_loads_of_a_fraction_without_its_parts_is_refused(body: list[str]) -> None:
    with pytest.raises(CodecError, match="not an encoded value"):
        loads(json.dumps({"F": body}).encode())


def test_loads_without_memory_says_nothing_of_the_bytes() -> None:
    def parse(data: bytes) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        loads(b"1", parse=parse)
