"""Reasoning Gym's puzzles as rows."""

from __future__ import annotations

import json
import sys

import pytest

from guerdon.errors import MissingDependencyError
from guerdon_plugins.sources.reasoning_gym import ReasoningGym

pytest.importorskip("reasoning_gym", reason="needs the extra 'reasoning-gym'")


def test_rows_are_the_same_for_the_same_params() -> None:
    rows = list(ReasoningGym("leg_counting", seed=3, size=5))
    assert rows == list(ReasoningGym("leg_counting", seed=3, size=5))
    assert rows != list(ReasoningGym("leg_counting", seed=4, size=5))
    assert len(rows) == 5
    assert rows[0].keys() == {"prompt", "reference", "task", "metadata"}
    assert rows[0]["task"] == json.loads(rows[0]["metadata"])["source_dataset"] == "leg_counting"


def test_config_and_prompt_params_reach_the_rows() -> None:
    (row,) = ReasoningGym(
        "chain_sum", config={"min_terms": 2, "max_terms": 2}, size=1, system="Think.", template="Q: {prompt}"
    )
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"][1]["content"].startswith("Q: ")
    assert json.loads(row["metadata"])["source_config"] == {"min_terms": 2, "max_terms": 2}


def test_unknown_tasks_and_configs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task is 'leg_countin'.*Near: leg_counting"):
        ReasoningGym("leg_countin")
    with pytest.raises(ValueError, match=r"the task 'chain_sum' refuses the config \{'legs': 4\}"):
        ReasoningGym("chain_sum", config={"legs": 4})
    with pytest.raises(ValueError, match="refuses the config"):
        ReasoningGym("chain_sum", config={"min_terms": 5, "max_terms": 2})


def test_without_reasoning_gym_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(MissingDependencyError, match=r"guerdon\[reasoning-gym\]"):
        ReasoningGym("leg_counting")
