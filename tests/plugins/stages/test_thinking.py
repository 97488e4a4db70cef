"""Budget forcing: a thought is cut or prolonged, and the answer follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Model
from guerdon.errors import UsageError
from guerdon_plugins.stages.sampling.engines import ThinkingEngine
from guerdon_plugins.stages.sampling.thinking import Forcing, Marks, Thinking, check_marks, think

EOS, END, WAIT = 0, 1, [2, 3]
MARKS = Marks(END, WAIT)


class Script:
    """A model that says given tokens, however it is interrupted."""

    def __init__(self, *scripts: Sequence[int]) -> None:
        self._left = [list(script) for script in scripts]
        self.calls: list[tuple[int, int, set[int]]] = []

    def __call__(self, prompts: Sequence[list[int]], tokens: int, ends: Collection[int]) -> list[list[int]]:
        self.calls.append((len(prompts), tokens, set(ends)))
        return [self._say(self._left[prompt[0] - 100], tokens, ends) for prompt in prompts]

    def _say(self, left: list[int], tokens: int, ends: Collection[int]) -> list[int]:
        said: list[int] = []
        while left and len(said) < tokens:
            said.append(left.pop(0))
            if said[-1] in ends:
                break
        return said


def thoughts(model: Script, count: int, thinking: Thinking, **options: Any) -> list[list[int]]:
    options = {"answer_tokens": 3, "ends": [EOS], "positions": None, **options}
    forcing = Forcing(thinking, MARKS, **options)
    return think(model, [[100 + number] for number in range(count)], forcing)


def test_a_thought_within_the_budget_stays_as_it_is() -> None:
    model = Script([10, 11, END, 20, EOS])
    assert thoughts(model, 1, Thinking(8)) == [[10, 11, END, 20, EOS]]
    assert model.calls == [(1, 8, {EOS, END}), (1, 3, {EOS})]


def test_a_thought_over_the_budget_is_cut_and_the_answer_follows() -> None:
    assert thoughts(Script([10, 11, 12, 13, 20, EOS]), 1, Thinking(2)) == [[10, 11, END, 12, 13, 20]]


def test_an_end_of_thinking_is_replaced_as_often_as_asked() -> None:
    model = Script([10, END, 11, END, 12, END, 20, EOS])
    assert thoughts(model, 1, Thinking(20, waits=2)) == [[10, *WAIT, 11, *WAIT, 12, END, 20, EOS]]


def test_an_end_of_thinking_stays_if_the_budget_has_no_token_after_the_wait() -> None:
    model = Script([10, 11, END, 20, EOS])
    assert thoughts(model, 1, Thinking(4, waits=1)) == [[10, 11, END, 20, EOS]]


def test_a_completion_that_ends_while_it_thinks_has_no_answer() -> None:
    model = Script([10, EOS, 11])
    assert thoughts(model, 1, Thinking(8, waits=1)) == [[10, EOS]]
    assert len(model.calls) == 1


def test_each_thought_has_a_budget_of_its_own() -> None:
    model = Script([10, END, 11, 12, 13, 14, 15, EOS], [10, 11, 12, 13, END, 20, EOS])
    assert thoughts(model, 2, Thinking(5, waits=1)) == [
        [10, *WAIT, 11, 12, END, 13, 14, 15],
        [10, 11, 12, 13, END, 20, EOS],
    ]


def test_a_thought_that_fills_the_models_positions_has_no_answer() -> None:
    model = Script([10, 11, 12, 13], [10, END, 20, EOS])
    assert thoughts(model, 2, Thinking(4), positions=5) == [[10, 11, 12, 13, END], [10, END, 20, EOS]]
    assert [count for count, _, _ in model.calls] == [2, 1]


@given(
    scripts=st.lists(st.lists(st.sampled_from([EOS, END, 10, 11]), min_size=1, max_size=12), max_size=4),
    budget=st.integers(1, 8),
    waits=st.integers(0, 3),
)
def test_a_thought_ends_once_within_its_budget(scripts: list[list[int]], budget: int, waits: int) -> None:
    made = thoughts(Script(*scripts), len(scripts), Thinking(budget, waits=waits), answer_tokens=50)
    for ids in made:
        thought = ids[: ids.index(END)] if END in ids else ids
        assert len(thought) <= budget
        assert END in ids or ids[-1] == EOS
        assert EOS not in ids[:-1]
        assert thought.count(WAIT[0]) <= waits


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "thinking has nothing: it takes max_tokens"),
        ({"max_tokens": 4, "budget": 3}, "thinking has max_tokens, budget: it takes max_tokens"),
        ({"max_tokens": 0}, "thinking.max_tokens is 0"),
        ({"max_tokens": "many"}, "thinking.max_tokens is 'many'"),
        ({"max_tokens": True}, "thinking.max_tokens is True"),
        ({"max_tokens": 4, "waits": -1}, "thinking.waits is -1"),
        ({"max_tokens": 4, "wait": ""}, "thinking.wait is ''"),
        ({"max_tokens": 4, "end": 3}, "thinking.end is 3"),
    ],
)
def test_wrong_budgets_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Thinking.from_params(params)


def test_check_and_run_refuse_an_end_of_several_tokens(small_model: Model) -> None:
    reason = r"thinking.end is '= 3,', which is \d tokens of model 'small'"
    budget = Thinking(4, end="= 3,")
    with pytest.raises(UsageError, match=reason):
        check_marks([None, budget], [small_model])
    with pytest.raises(UsageError, match=reason):
        ThinkingEngine(small_model, budget)
    check_marks([Thinking(4), None], [small_model])
    check_marks([budget], [Model("elsewhere", "org/model")])
