"""Process supervision, parts and broken-down metrics in real training steps, by both loss paths."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from guerdon.errors import UsageError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute

MODULE = '''
from guerdon import Score


class Rows:
    def __iter__(self):
        return ({"prompt": f"say {i}", "task": "ab"[i % 2]} for i in range(8))


def value(text):
    return sum(map(ord, text)) % 7 / 7


def steps(completion):
    """Pay the first half and the second half of a completion."""
    half = max(1, len(completion) // 2)
    spans = [(0, half, value(completion[:half]))]
    if half < len(completion):
        spans.append((half, len(completion), value(completion[half:])))
    return Score(value(completion), spans=spans if completion else ())


def at_end(completion):
    return Score(value(completion), spans=[(0, len(completion), value(completion))] if completion else ())


def outcome(completion):
    return value(completion)


def parts(completion):
    return Score(value(completion), parts={"first": value(completion[:2]), "rest": value(completion[2:])})
'''


@pytest.fixture
def train(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "m.py").write_text(MODULE)
    model = tiny_model()

    def run(name: str, scorer: str, **params: Any) -> Path:
        options = {
            "max_steps": 2,
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 6,
            "optim": "sgd",  # Adam would turn the rounding of a gradient near 0 into a whole step
            "learning_rate": 1.0,
            "lr_scheduler_type": "constant",
            **params,
        }
        (tmp_path / "m.yaml").write_text(f"""\
name: x
model: {model}
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:{scorer}'}}]
    params: {json.dumps(options)}
""")
        execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / name, [])
        return tmp_path / name

    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "stages/rl/output/model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def rollouts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stages/rl/rollouts.jsonl").read_text().splitlines()]


def test_process_supervision_is_the_same_by_both_losses_and_differs_from_outcome(
    train: Callable[..., Path],
) -> None:
    fused = train("fused", "steps", supervision="process")
    trl = train("trl", "steps", supervision="process", fused_loss=False)
    outcome = train("outcome", "steps")
    assert [one["completion"] for one in rollouts(fused)] == [one["completion"] for one in rollouts(trl)]
    assert same(fused, trl)
    assert not same(fused, outcome)


def test_process_supervision_of_one_span_at_the_end_is_outcome_supervision(
    train: Callable[..., Path],
) -> None:
    process = train("process", "at_end", supervision="process")
    outcome = train("outcome", "outcome")
    assert same(process, outcome)
    assert [one["advantage"] for one in rollouts(process)] == pytest.approx(
        [one["advantage"] for one in rollouts(outcome)], abs=1e-4
    )


def test_parts_are_objectives_of_their_own_and_metrics(train: Callable[..., Path]) -> None:
    split = train("split", "parts", multi_objective_aggregation="normalize_then_sum", metrics_by="task")
    whole = train("whole", "outcome", multi_objective_aggregation="normalize_then_sum")
    assert not same(split, whole)
    events = [json.loads(line) for line in (split / "events.jsonl").read_text().splitlines()]
    metrics = next(
        event["metrics"] for event in events if event["event"] == "stage_progress" and event["metrics"]
    )
    assert {"rewards/parts/parts/first", "rewards/parts/parts/rest"} <= metrics.keys()
    assert any(name.startswith("task=") and name.endswith("/reward") for name in metrics)


def test_process_supervision_with_another_aggregation_is_refused(train: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="cannot be combined with multi_objective_aggregation"):
        train("both", "steps", supervision="process", multi_objective_aggregation="normalize_then_sum")
