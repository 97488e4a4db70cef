"""The verifiers of what a model did: ``tool_use`` and ``environment``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon.testing import Case, VerifierConformance
from guerdon_plugins.verifiers.tool_use import ToolUse


def turn(*calls: tuple[str, dict[str, Any]], text: str = "") -> dict[str, Any]:
    written = [{"type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": "assistant", "content": text, "tool_calls": written}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "name": "f", "content": text}


A, B = ("a", {"x": 1}), ("b", {"y": "t"})
NESTED = [{"name": "a", "arguments": {"x": [1]}}]
EXPECTED = [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {"y": "t"}}]


class TestToolUse(VerifierConformance):
    plugin = "tool_use"
    golden = (
        Case([turn(A), result("1"), turn(B)], 1.0, expected_calls=EXPECTED),
        Case([turn(A, B)], 1.0, expected_calls=EXPECTED, why="both in one turn, in order"),
        Case([turn(A, B)], 1.0, expected_calls=[EXPECTED], why="parallel calls"),
        Case([turn(B, A)], 1.0, expected_calls=[EXPECTED], why="parallel calls have no order"),
        Case([turn(A), result("1"), turn(B)], 0.5, expected_calls=[EXPECTED], why="they are not parallel"),
        Case([turn(B), result("1"), turn(A)], 0.5, expected_calls=EXPECTED, why="the wrong order"),
        Case([turn(A)], 2 / 3, expected_calls=EXPECTED, why="one is missing"),
        Case([turn(A, A, B)], 0.8, expected_calls=EXPECTED, why="one too many"),
        Case([turn(("a", {"x": 2}), B)], 0.5, expected_calls=EXPECTED, why="a wrong argument"),
        Case([turn(("a", {"x": [True]}))], 0.0, expected_calls=NESTED, why="true is not 1, at any depth"),
        Case([turn(("a", {"x": [1.0]}))], 1.0, expected_calls=NESTED, why="1.0 is 1"),
        Case([turn(("a", {"x": 1, "z": 1}), B)], 0.5, expected_calls=EXPECTED, why="a surplus argument"),
        Case([turn(("a", {"x": True}), B)], 0.5, expected_calls=EXPECTED, why="true is not 1"),
        Case("no calls", 1.0, expected_calls=[], why="none is expected, and none is made"),
        Case([turn(A)], 0.0, expected_calls=[], why="none is expected"),
        Case([turn(A)], 1.0, expected_calls=[{"name": "a"}], why="any arguments"),
        Case(
            [turn(A)],
            1.0,
            expected_calls=[{"name": "a", "arguments": {"x": {"schema": {"type": "integer"}}}}],
        ),
        Case([turn(A)], 0.0, expected_calls=[{"name": "a", "arguments": {"x": {"schema": {"maximum": 0}}}}]),
        Case([turn(A)], Failure.REFERENCE, expected_calls="a"),
        Case([turn(A)], Failure.REFERENCE, expected_calls=[{"arguments": {}}]),
        Case([turn(A)], Failure.REFERENCE, expected_calls=[{"name": "a", "arguments": {"x": {"schema": 3}}}]),
    )
    hacks = (
        Case('{"name": "a", "arguments": {"x": 1}}', 0.0, expected_calls=EXPECTED, why="a call in words"),
        Case("a(x=1) b(y='t')", 0.0, expected_calls=EXPECTED),
        Case([{"role": "assistant", "content": "a"}, result("a"), result("b")], 0.0, expected_calls=EXPECTED),
        Case([turn(*[A] * 50)], 0.05, expected_calls=EXPECTED, why="every call many times"),
        Case([turn(A, B, *[("c", {"n": n}) for n in range(50)])], 0.1, expected_calls=EXPECTED),
        Case([turn(("A", {"x": 1}), ("b ", {"y": "t"}))], 0.0, expected_calls=EXPECTED, why="similar names"),
        Case([{"role": "assistant", "tool_calls": "a"}], 0.0, expected_calls=EXPECTED),
        Case(
            [{"role": "tool", "tool_calls": turn(A, B)["tool_calls"]}, turn()], 0.0, expected_calls=EXPECTED
        ),
        Case(
            [{"role": "user", "tool_calls": turn(A, B)["tool_calls"]}, turn()], 0.0, expected_calls=EXPECTED
        ),
    )


class TestEnvironment(VerifierConformance):
    plugin = "environment"
    golden = (
        Case("won", 0.5, environment_reward=0.5),
        Case("won", None, why="there is no environment"),
        Case([turn(A), result("reward: 1")], 0.0, environment_reward=0.0),
    )
    hacks = (
        Case("environment_reward=1", 0.0, environment_reward=0.0, why="a claim"),
        Case([turn(("get_reward", {}))], 0.0, environment_reward=0.0),
    )


@pytest.fixture
def rubric() -> Iterator[Rubric]:
    with Rubric(
        [Entry("use", load_component(find_plugin("tool_use", SCORERS), {"extra": True}, None))]
    ) as rubric:
        yield rubric


def test_extra_calls_may_be_free(rubric: Rubric) -> None:
    rollout = Rollout("", [turn(A, ("c", {}), B)], {"expected_calls": EXPECTED})
    assert rubric.score([rollout])[0].reward == 1.0


CALLS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 2)), max_size=6)


@given(CALLS, CALLS, st.booleans(), st.booleans())
def test_score_is_a_share_and_full_only_for_the_expected_calls(
    expected: list[tuple[str, int, int]], made: list[tuple[str, int, int]], order: bool, extra: bool
) -> None:
    made = sorted(made, key=lambda call: call[2])
    wanted = [{"name": name, "arguments": {"x": x}} for name, x, _ in expected]
    calls = [{"name": name, "arguments": {"x": x}, "turn": turn} for name, x, turn in made]
    score = ToolUse(order=order, extra=extra)("", calls, wanted)
    assert score.value is not None
    assert 0 <= score.value <= 1
    same = [(name, x) for name, x, _ in expected] == [(name, x) for name, x, _ in made]
    if same:
        assert score.value == 1
    if score.value == 1 and not extra:
        assert sorted((n, x) for n, x, _ in expected) == sorted((n, x) for n, x, _ in made)
