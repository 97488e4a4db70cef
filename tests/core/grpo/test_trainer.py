"""Typed outcomes, weights and metrics of a rubric in a real training step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import FailureBudgetError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute

MODULE = '''
class Rows:
    def __iter__(self): return ({"prompt": f"say {i}", "reference": str(i)} for i in range(8))

def letters(completion):
    """Breaks on a good part of a random model's completions."""
    if len(completion) % 2: raise RuntimeError("odd")
    return len(completion) / 10

def always(completion): return 0.5
def broken(completion): raise RuntimeError("always")
def logged(completions, log_metric, log_extra, trainer_state, **columns):
    log_metric("seen", float(len(completions)))
    log_extra("step", [trainer_state.global_step] * len(completions))
    return [None if c.startswith("!") else 1.0 for c in completions]
'''


@pytest.fixture
def train(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "m.py").write_text(MODULE)
    model = tiny_model()

    def run(rewards: str, budget: float = 1.0) -> Path:
        (tmp_path / "m.yaml").write_text(f"""\
name: x
model: {model}
failure_budget: {budget}
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows'}}]
    rewards: {rewards}
    params: {{max_steps: 2, num_generations: 4, per_device_train_batch_size: 16, max_completion_length: 6}}
""")
        execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / "out", [])
        return tmp_path / "out"

    return run


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_failed_completions_are_left_out_and_everything_is_logged(train: Callable[..., Path]) -> None:
    out = train(
        "[{use: './m.py:letters', weight: {0: 1.0, 1: 3.0}}, {use: './m.py:always'}, {use: './m.py:logged'}]"
    )
    rollouts = read(out / "stages/rl/rollouts.jsonl")
    assert len(rollouts) == 32
    failed = [rollout for rollout in rollouts if rollout["reward"] is None]
    assert 0 < len(failed) < 32
    for rollout in rollouts:
        scores, step = rollout["scores"], rollout["step"]
        assert scores["logged"]["metadata"] == {"step": step - 1}
        if rollout["reward"] is None:
            assert scores["letters"]["failure"] == "verifier"
            assert scores["letters"]["explanation"] == "RuntimeError: odd"
            assert rollout["advantage"] == 0.0
        else:
            parts = [score["weighted"] for score in scores.values() if score["weighted"] is not None]
            assert rollout["reward"] == pytest.approx(sum(parts))
            assert scores["letters"]["weighted"] == pytest.approx(
                (1.0, 3.0)[step - 1] * scores["letters"]["value"]
            )
    for step in (1, 2):
        group = [r for r in rollouts if r["step"] == step and r["group"] == 0]
        assert len({r["prompt"] for r in group}) == 1
        scored = [r for r in group if r["reward"] is not None]
        if scored:
            mean = sum(r["reward"] for r in scored) / len(scored)
            for rollout in scored:  # the baseline leaves the failures out
                assert (rollout["advantage"] > 0) == (rollout["reward"] > mean + 1e-6)
    events = [
        e for e in read(out / "events.jsonl") if e["event"] == "stage_progress" and "reward" in e["metrics"]
    ]
    assert [event["step"] for event in events] == [1, 2]
    metrics = events[0]["metrics"]
    assert metrics["seen"] == 16.0
    first = [rollout for rollout in rollouts if rollout["step"] == 1]
    rate = sum(rollout["scores"]["letters"]["outcome"] == "failed" for rollout in first) / 16
    assert metrics["rewards/letters/failure_rate"] == pytest.approx(rate)
    assert {"rewards/always/mean", "rewards/letters/latency_ms", "rewards/logged/skip_rate"} <= metrics.keys()


def test_the_failure_budget_stops_training_before_a_step(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(FailureBudgetError, match="'broken' failed on 16 of its latest 16"):
        train("[{use: './m.py:always'}, {use: './m.py:broken'}]", budget=0.1)
    assert not (tmp_path / "out/stages/rl/result.json").exists()
    assert not list((tmp_path / "out/stages/rl/work").glob("checkpoint-*"))
