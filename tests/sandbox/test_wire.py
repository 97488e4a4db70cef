"""Whatever bytes come out of a box, the host reads a message, or says that they are none, within bounds."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import asdict
from numbers import Number
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_sandbox import Call, Calls, CallsResult, Limits, Raised, Returned, box
from guerdon_sandbox.box import Box, BoxLostError
from guerdon_sandbox.codec import MAX_DIGITS, Opaque, loads
from guerdon_sandbox.engine import Engine
from guerdon_sandbox.inside import wire
from guerdon_sandbox.inside.wire import Answer, JobLimits, Limit, Request, WireError
from guerdon_sandbox.parsing import parse

REQUEST = Request("calls", JobLimits(**asdict(Limits())), [], [], ["a", "b"], [False])
GOOD = {
    "status": 0,
    "limit": None,
    "truncated": ["stdout"],
    "wall_s": 0.5,
    "waited_s": 0.0,
    "cpu_s": 0.1,
    "peak_kib": 9000,
    "dirty": None,
    "missing": ["b"],
    "error": None,
    "sizes": [1, 2, 3, 4],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KINDS = ("value", "raised", "began", "ready", "broken")
CODED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, min_size=1, max_size=1)
    ),
    max_leaves=20,
)
TOKENS = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b'"h"',
    b":",
    b",",
    b"0",
    b"-",
    b"1",
    b".5",
    b"e3",
    b"true",
    b"NaN",
    b"\\u00e9",
    b"\\",
]
VALUES = st.sampled_from([*KINDS, *"htdszbcinrxoNFDqkvmTa"])
NEARLY = st.recursive(
    JSON | VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(VALUES, inner, min_size=1, max_size=2),
    max_leaves=20,
)


def read(blob: bytes, calls: int = 2, **limits: int) -> CallsResult:
    job = Calls(source="", calls=[Call("f")] * calls, limits=Limits(**limits))
    return job.result(Answer.killed(None, job.request()[0]), [b"", b"", blob], "engine")


class Sink(asyncio.StreamWriter):
    """Takes what is sent, and loses it."""

    def __init__(self) -> None:
        pass

    def write(self, data: object) -> None:
        pass

    async def drain(self) -> None:
        pass

    def __del__(self) -> None:
        pass


def frame(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


LOADED = frame(b'["began"]') + frame(b'["ready"]')


def test_decode_answer_reads_what_encode_writes() -> None:
    answer = Answer(0, Limit.CPU, ["stderr"], 1.0, 0.0, 1.0, 5, None, ["a"])
    encoded = wire.encode(answer._asdict(), [b"", b"", b"", b"x"])
    assert wire.header_size(encoded[:4]) == len(encoded) - 4
    assert wire.decode_answer(encoded[4:], REQUEST) == (answer, [0, 0, 0, 1])


def test_decode_request_reads_what_encode_writes() -> None:
    encoded = wire.encode(REQUEST._asdict(), [b"", b"xy"])
    assert wire.decode_request(encoded[4:]) == (REQUEST, [0, 2])


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_decode_answer_refuses_any_other_bytes(data: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode_answer(data, REQUEST)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_decode_answer_checks_every_field(field: str, value: Any) -> None:
    """Either the answer is refused, or the field holds what its type says."""
    try:
        answer, sizes = wire.decode_answer(json.dumps({**GOOD, field: value}).encode(), REQUEST)
    except WireError:
        return
    assert type(answer.status) is type(answer.peak_kib) is int
    assert answer.limit is None or isinstance(answer.limit, Limit)
    assert all(isinstance(time, int | float) for time in (answer.wall_s, answer.cpu_s, answer.waited_s))
    assert set(answer.missing) <= {"a", "b"}
    assert sum(sizes) <= REQUEST.output_bytes + wire.COLLECT_TOTAL_BYTES


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [1 << 40, 0, 0, 0]},
        {"sizes": [-1, 1, 0, 0]},
        {"sizes": [0] * 100_000},
        {"sizes": None},
        {"wall_s": float("nan")},
        {"wall_s": float("inf")},
        {"cpu_s": -1},
        {"status": True},
        {"status": 1 << 40},
        {"limit": "no such"},
        {"truncated": ["stdout", "stdout"]},
        {"missing": ["c"]},
        {"dirty": 3},
        {"more": 1},
    ],
)
def test_decode_answer_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        wire.decode_answer(json.dumps({**GOOD, **change}).encode(), REQUEST)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 0, 255]), st.binary(max_size=60))
        | st.tuples(st.just(1), JSON.map(lambda value: frame(json.dumps(value).encode())))
        | st.tuples(st.just(1), st.just(frame(json.dumps(GOOD).encode()))),
        max_size=6,
    )
)
def test_box_that_sends_anything_is_lost_and_no_more(parts: list[tuple[int, bytes]]) -> None:
    async def work() -> None:
        reader = asyncio.StreamReader()
        for stream, data in parts:
            reader.feed_data(struct.pack(">BxxxI", stream, len(data)) + data)
        reader.feed_eof()
        box = Box(Engine("unix:///nowhere"), "name", 1.0, reader, Sink())
        try:
            answer, blobs = await box.run(REQUEST, [b"", b""])
        except BoxLostError:
            return
        assert list(map(len, blobs)) == GOOD["sizes"]
        assert answer.missing == GOOD["missing"]

    asyncio.run(work())


def test_header_size_has_a_bound() -> None:
    with pytest.raises(WireError, match="header"):
        wire.header_size(b"\xff\xff\xff\xff")


@given(st.binary(max_size=300))
def test_replies_of_random_bytes_are_read_as_failures(blob: bytes) -> None:
    assert all(isinstance(reply, Raised) for reply in read(blob).replies)


@given(st.lists(NEARLY, max_size=6), st.integers(0, 40))
def test_replies_that_are_nearly_right_never_raise(values: list[Any], cut: int) -> None:
    blob = b"".join(frame(json.dumps(value).encode()) for value in values)
    result = read(blob[: len(blob) - cut])
    assert len(result.replies) <= 2


@given(CODED)
def test_parse_reads_as_the_standard_library(value: Any) -> None:
    data = json.dumps(value, separators=(",", ":")).encode()
    assert repr(parse(data)) == repr(json.loads(data))


@given(st.lists(st.sampled_from([*'a\n\x00é😀\ud83d\ude00"\\']), min_size=60).map("".join))
def test_parse_joins_the_pieces_of_a_long_text(text: str) -> None:
    data = json.dumps(text * 3).encode()
    assert parse(data) == json.loads(data)


@given(st.binary(max_size=100) | st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join))
def test_parse_of_any_bytes_gives_the_value_of_the_standard_library_or_refuses(data: bytes) -> None:
    try:
        value = parse(data)
    except ValueError:
        return
    assert repr(value) == repr(json.loads(data))


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"1" * 30,
            b"1." + b"1" * 30,
            b"1e" + b"1" * 9,
            b"00",
            b"-01",
            b"[07]",
            "٣".encode(),
            "1.٣".encode(),
        ),
        *(b" 1", b'{"a":1,"b":2}', b"{}", b"[1,]"),
    ],
)
def test_parse_of_what_the_codec_does_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=" at "):
        parse(data)


@pytest.mark.parametrize("body", ['{"i":"%s"}', '{"D":"%s"}', '{"F":["%s","1"]}', '{"F":["1","%s"]}'])
def test_number_of_too_many_digits_is_opaque_on_the_host_only(body: str) -> None:
    data = (body % ("7" * MAX_DIGITS + "1")).encode()
    (reply,) = read(LOADED + frame(b'["value",%s,[],{"d":[]}]' % data)).replies
    assert isinstance(reply, Returned)
    assert isinstance(reply.value, Opaque)
    assert isinstance(loads(data, inside=True), Number)


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b",".join([b"[]"] * 1_000_000) + b"]",
        b'"' + b"\\n" * 1_000_000 + b'"',
        b"[" * 1_000_000,
        b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b"}",
    ],
)
def test_reply_with_more_values_than_the_limit_is_not_read(value: bytes) -> None:
    result = read(LOADED + frame(b'["value",' + value + b',[],{"d":[]}]'))
    assert result.replies == [Raised("the reply holds more values than are read")]


def test_replies_together_have_a_limit() -> None:
    one = frame(b'["value",[' + b",".join([b"1"] * 600) + b'],[],{"d":[]}]')
    result = read(LOADED + one * 3, calls=3, reply_items=1500)
    assert [isinstance(reply, Raised) for reply in result.replies] == [False, False, True]


def test_frames_beyond_the_calls_are_not_read() -> None:
    assert len(read(LOADED + frame(b'["value",1,[],{"d":[]}]') * 1000).replies) == 2


def test_arguments_of_a_box_are_shorter_than_linux_allows() -> None:
    assert max(len(argument.encode()) for argument in box.command()) < 128 << 10
