from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_entries import call, entry_of

from guerdon.errors import DataError, PluginLoadError, UsageError
from guerdon.plugins.discovery import Kind
from guerdon.tools import Toolbox
from guerdon.tools.toolbox import check_names

Opened = Callable[..., Toolbox]


def read(
    toolbox: Toolbox, *calls: dict[str, Any], row: dict[str, Any] | None = None
) -> list[tuple[str, str | None]]:
    """What the model reads after one turn of calls, with the failures."""
    (session,) = toolbox.open([row or {}], [0])
    toolbox.call([(session, calls)])
    return [(str(one.result), one.failure) for one in session.calls]


def test_tool_function_answers_with_its_text(opened: Opened) -> None:
    toolbox = opened(entry_of("double"))
    assert read(toolbox, call("double", number=4), call("double", number="a")) == [("8", None), ("aa", None)]


def test_tool_class_takes_params_and_the_manifests_name(opened: Opened) -> None:
    toolbox = opened(entry_of("Adder", params={"summand": 3}, name="add"))
    assert read(toolbox, call("add", number=4)) == [("7", None)]
    assert [stub.__name__ for stub in toolbox.stubs] == ["add"]


@pytest.mark.parametrize(
    ("how", "text", "failure"),
    [
        ("raise", "{'error': 'two\\nlines'}", "error"),
        ("exit", "{'error': '3'}", "error"),
        ("die", "{'error': 'misbehave() ended its process'}", "crash"),
        ("segfault", "{'error': 'misbehave() ended its process'}", "crash"),
        ("sleep", "{'error': 'misbehave() gave no answer within 0.5 s'}", "timeout"),
        ("native loop", "{'error': 'misbehave() gave no answer within 0.5 s'}", "timeout"),
        ("surrogate", "?", None),
        ("print", "print", None),
        ("blocks", "ab", None),
        ("image", "{'error': 'the result has content other than text, which is not supported'}", "error"),
        ("none", "None", None),
        ("fork", "fork", None),
        (
            "generator",
            "{'error': \"the tool gives a generator, which has no text. Return the text instead of 'yield'\"}",
            "error",
        ),
    ],
)
def test_misbehaving_tool_becomes_text(opened: Opened, how: str, text: str, failure: str | None) -> None:
    toolbox = opened(entry_of("misbehave", timeout_s=0.5), entry_of("double"))
    answers = read(toolbox, call("misbehave", how=how), call("double", number=1))
    assert answers == [(text, failure), ("2", None)]
    assert read(toolbox, call("misbehave", how="again")) == [("again", None)]


def test_long_result_is_cut(opened: Opened) -> None:
    toolbox = opened(entry_of("misbehave", max_output=10))
    assert read(toolbox, call("misbehave", how="long")) == [
        ("x" * 10 + "\n[9999990 more characters were cut]", None)
    ]


def test_forks_of_a_tool_answer_no_other_call(opened: Opened) -> None:
    toolbox = opened(entry_of("misbehave"), entry_of("double"), workers=1)
    asked = [call("misbehave", how="fork"), call("double", number=1)] * 5
    assert read(toolbox, *asked) == [("fork", None), ("2", None)] * 5


def test_tool_that_kills_its_parent_harms_no_other_call(opened: Opened) -> None:
    toolbox = opened(entry_of("misbehave"), entry_of("double"))
    (session,) = toolbox.open([{}], [0])
    toolbox.call([(session, [call("misbehave", how="kill the parent")])])
    for number in range(5):
        toolbox.call([(session, [call("double", number=number), call("misbehave", how="die")])])
    assert [one.result for one in session.calls if one.name == "double"] == ["0", "2", "4", "6", "8"]


def test_children_of_a_late_tool_are_killed(opened: Opened) -> None:
    before = _sleepers()
    toolbox = opened(entry_of("misbehave", timeout_s=0.5))
    assert read(toolbox, call("misbehave", how="children"))[0][1] == "timeout"
    deadline = time.monotonic() + 10
    while _sleepers() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _sleepers() - before


def _sleepers() -> set[str]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_bytes() == b"sleep\x003600\x00":
                found.add(folder.name)
    return found


@pytest.mark.parametrize(
    ("asked", "failure"),
    [
        (call("nothing"), "unknown"),
        (call("__class__"), "unknown"),
        (call("double"), "arguments"),
        (call("double", number=1, other=2), "arguments"),
        (call("double", self=1), "arguments"),
        ({"type": "function", "function": {"name": "double", "arguments": "4"}}, "arguments"),
        ({"type": "function", "function": {"name": "double", "arguments": [4]}}, "arguments"),
        ({"type": "function", "function": {"name": "double"}}, "arguments"),
        ({"type": "function", "function": "double"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_wrong_call_is_counted_by_its_kind(opened: Opened, asked: dict[str, Any], failure: str) -> None:
    ((text, found),) = read(opened(entry_of("double")), asked)
    assert found == failure
    assert text.startswith("{'error': ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.lists(
        JSON.map(lambda v: {"function": {"name": "misbehave", "arguments": v}})
        | JSON.map(lambda v: {"function": v}),
        max_size=4,
    )
)
def test_any_call_gets_one_message(shared: Toolbox, calls: list[dict[str, Any]]) -> None:
    (session,) = shared.open([{}], [0])
    (messages,) = shared.call([(session, calls)])
    assert len(messages) == len(calls) == len(session.calls)
    assert all(isinstance(message["content"], str) for message in messages)


@pytest.fixture(scope="module")
def shared() -> Any:
    with Toolbox([entry_of("double")]) as toolbox:
        yield toolbox


def test_calls_of_a_batch_run_concurrently(opened: Opened) -> None:
    toolbox = opened(entry_of("wait"), workers=8)
    sessions = toolbox.open([{}] * 8, range(8))
    toolbox.call([(session, [call("wait", seconds=0)]) for session in sessions])
    started = time.monotonic()
    toolbox.call([(session, [call("wait", seconds=1)]) for session in sessions])
    assert time.monotonic() - started < 6
    assert [one.result for session in sessions for one in session.calls] == ["done"] * 16


def test_environment_of_trl_works_unchanged(opened: Opened) -> None:
    toolbox = opened(entry_of("Counter", Kind.ENVIRONMENT))
    sessions = toolbox.open([{"start": 1, "show": True}, {"start": 5}], [0, 1])
    assert [session.observation for session in sessions] == ["The counter is 1.", None]
    toolbox.call([(sessions[0], [call("increment", step=2), call("increment", step=3)])])
    toolbox.call([(sessions[1], [call("increment", step=-1)])])
    toolbox.finish(sessions)
    assert [one.result for one in sessions[0].calls] == ["3", "6"]
    assert [one.result for one in sessions[1].calls] == ["{'error': 'Game over.'}"]
    assert [(session.reward, session.state, session.broken) for session in sessions] == [
        (6.0, {"count": 6}, None),
        (5.0, {"count": 5}, None),
    ]


@pytest.mark.parametrize(
    "name", ["reset", "get_reward", "state", "_secret", "__init__", "count", "aclose", "setup"]
)
def test_model_cannot_call_what_is_not_a_tool(opened: Opened, name: str) -> None:
    toolbox = opened(entry_of("Stateful", Kind.ENVIRONMENT))
    assert read(toolbox, call(name)) == [(f"{{'error': 'Tool {name} not found.'}}", "unknown")]


@pytest.mark.parametrize(
    ("step", "row", "reason"),
    [
        (13, {}, "increment() ended its process"),
        (14, {}, "increment() gave no answer within 0.5 s"),
        (15, {}, "increment() raised: no database"),
        (99, {}, "get_reward() or state() raised: get_reward() returned nan; it must return a finite number"),
        (0, {"fail": "reset"}, "reset() raised: no world"),
    ],
)
def test_environment_that_breaks_is_named(
    opened: Opened, step: int, row: dict[str, Any], reason: str
) -> None:
    toolbox = opened(entry_of("Counter", Kind.ENVIRONMENT, timeout_s=0.5))
    sessions = toolbox.open([row, {}], [0, 1])
    for session in sessions:
        second = call("increment", step=0)
        toolbox.call([(session, [call("increment", step=1 if session is sessions[1] else step), second])])
    toolbox.finish(sessions)
    assert sessions[0].broken == f"environment 'Counter': {reason}"
    assert (sessions[0].reward, sessions[0].state) == (None, None)
    assert (sessions[1].reward, sessions[1].broken) == (1.0, None)
    again = toolbox.open([{"start": 3}], [0])
    toolbox.finish(again)
    assert again[0].reward == 3.0


def test_observation_has_no_text_that_a_tokenizer_cannot_read(opened: Opened) -> None:
    toolbox = opened(entry_of("Odd", Kind.ENVIRONMENT))
    (session,) = toolbox.open([{}], [0])
    assert session.observation == "a?b"


def test_environments_are_bounded_and_reused(opened: Opened) -> None:
    toolbox = opened(entry_of("Stateful", Kind.ENVIRONMENT))
    seen = set()
    for _ in range(3):
        sessions = toolbox.open([{}] * 4, range(4))
        toolbox.finish(sessions)
        seen |= {session.state["pid"] for session in sessions if session.state is not None}
    assert len(seen) == 4


def test_random_numbers_depend_on_the_seed_only(opened: Opened) -> None:
    def drawn(toolbox: Toolbox) -> list[str | None]:
        sessions = toolbox.open([{}] * 6, range(6))
        toolbox.call([(session, [call("misbehave", how="random")]) for session in sessions])
        return [one.result for session in sessions for one in session.calls]

    first = drawn(opened(entry_of("misbehave"), seed=1, workers=1))
    assert first == drawn(opened(entry_of("misbehave"), seed=1, workers=4))
    assert first != drawn(opened(entry_of("misbehave"), seed=2))
    assert len(set(first)) == 6


def test_tools_are_routed_by_the_row(opened: Opened) -> None:
    toolbox = opened(entry_of("double", when={"task": "a"}), entry_of("wait", when={"task": ["a", "b"]}))
    sessions = toolbox.open([{"task": "a"}, {"task": "b"}, {}], range(3))
    assert [[stub.__name__ for stub in toolbox.stubs_of(session)] for session in sessions] == [
        ["double", "wait"],
        ["wait"],
        [],
    ]


def test_two_tools_of_one_name_are_refused(opened: Opened) -> None:
    first, second = entry_of("double"), entry_of("Adder", params={"summand": 1}, name="double")
    with pytest.raises(UsageError, match="two tools are named 'double'"):
        check_names([first, second])
    with pytest.raises(DataError, match="two tools named 'double'"):
        opened(first, second).open([{}], [0])


def test_tool_that_cannot_be_built_is_an_error(opened: Opened, tmp_path: Path) -> None:
    toolbox = opened(entry_of("Adder", params={}))
    (session,) = toolbox.open([{}], [0])
    with pytest.raises(PluginLoadError, match="needs the param 'summand'"):
        toolbox.call([(session, [call("Adder", number=1)])])


def test_process_that_is_killed_while_it_builds_a_tool_is_replaced(opened: Opened, tmp_path: Path) -> None:
    toolbox = opened(entry_of("Killed", params={"folder": str(tmp_path), "times": 2}))
    (session,) = toolbox.open([{}], [0])
    toolbox.call([(session, [call("Killed", number=4)])])
    assert session.calls[0].result == "4"
    assert len(list(tmp_path.iterdir())) == 2


def test_tool_whose_constructor_ends_each_process_is_an_error(opened: Opened, tmp_path: Path) -> None:
    toolbox = opened(entry_of("Killed", params={"folder": str(tmp_path), "times": 99}))
    (session,) = toolbox.open([{}], [0])
    with pytest.raises(PluginLoadError, match="its constructor ended the process"):
        toolbox.call([(session, [call("Killed", number=4)])])
    assert len(list(tmp_path.iterdir())) == 3


def test_close_leaves_no_process() -> None:
    toolbox = Toolbox([entry_of("Stateful", Kind.ENVIRONMENT)])
    sessions = toolbox.open([{}] * 3, range(3))
    toolbox.finish(sessions)
    pids = [session.state["pid"] for session in sessions if session.state is not None]
    toolbox.close()
    assert len(pids) == 3
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_calls_are_json(opened: Opened) -> None:
    toolbox = opened(entry_of("double"))
    (session,) = toolbox.open([{}], [0])
    toolbox.call([(session, [call("double", number=4)])])
    written = json.loads(json.dumps(session.calls[0].to_dict()))
    assert {**written, "latency_ms": 0} == {
        "name": "double",
        "arguments": {"number": 4},
        "result": "8",
        "failure": None,
        "turn": 0,
        "latency_ms": 0,
    }
    assert os.getpid() > 0
