"""Rollouts of many turns: the same tokens as TRL's own loop, and what only guerdon's has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPython


@pytest.fixture(scope="module")
def trained(
    tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> Callable[[str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("turns")
    model = tiny_model(max_position_embeddings=2048)

    def train(mode: str) -> dict[str, Any]:
        file = folder / f"{mode}.json"
        if not file.exists():
            script = Path(__file__).with_name("tools_training.py")
            done = warm_python.run(script, str(model), str(folder), mode)
            assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    return train


@pytest.mark.slow
def test_tokens_messages_and_weights_are_those_of_trls_own_loop(
    trained: Callable[[str], dict[str, Any]],
) -> None:
    ours, theirs = trained("ours"), trained("trl")
    assert ours["seen"] == theirs["seen"]
    assert ours["weights"] == theirs["weights"]
    assert len(ours["seen"]) == 2
    messages = [message for batch in ours["seen"] for turns in batch["completions"] for message in turns]
    assert sum(message["role"] == "tool" for message in messages) > 10
    shown = [entry["tools/failure_frequency"] for entry in ours["metrics"]]
    assert shown == [entry["tools/failure_frequency"] for entry in theirs["metrics"]]


@pytest.mark.slow
def test_rollouts_know_their_calls_and_their_environment(trained: Callable[[str], dict[str, Any]]) -> None:
    rollouts = trained("ours")["rollouts"]
    assert len(rollouts) == 16
    calls = [call for rollout in rollouts for call in rollout["calls"]]
    assert {call["failure"] for call in calls} == {None, "error", "arguments", "unknown"}
    for rollout in rollouts:
        steps = [
            call["arguments"]["step"]
            for call in rollout["calls"]
            if call["name"] == "increment" and call["failure"] is None
        ]
        assert rollout["reward"] == rollout["environment"]["count"] == 2 + sum(steps)
        assert rollout["broken"] is None
    (metrics, *_) = trained("ours")["metrics"]
    assert metrics["tools/double/calls"] > 0
    assert 0 < metrics["tools/double/failure_rate"] < 1
    assert metrics["tools/(unknown)/failure_rate"] == 1
    assert metrics["tools/broken_environments"] == 0
