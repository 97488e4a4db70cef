"""Rollouts are judged while guerdon's loop samples others: the same training and records, and nothing judged twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from guerdon.manifest import load_manifest, plan_run
from guerdon.rubric import Rubric
from guerdon.run import execute

MODULE = """
import time
from pathlib import Path

LOG = Path(__file__).with_name("asked.txt")


def tell(name, what):
    with open(LOG, "a") as file:
        file.write(f"{name} {what!r}\\n")


class Rows:
    def __init__(self, chat=False):
        self.chat = chat

    def __iter__(self):
        for i in range(24):
            prompt = [{"role": "user", "content": f"say {i}"}] if self.chat else f"say {i}"
            yield {"prompt": prompt, "reference": str(i)}


def letters(completion, reference):
    time.sleep(0.01)
    tell("letters", (completion, reference))
    if len(completion) % 5 == 0:
        raise RuntimeError("fifth")
    return len(completion) / 20


async def second(completion, prompt):
    tell("second", (completion, prompt))
    return float(completion.isascii())


def rank(completions):
    tell("rank", completions)
    return [float(len(one) == max(map(len, completions))) for one in completions]


rank.guerdon_kind = "group_reward"
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "latency_ms" not in k and "time" not in k}
    return [without_times(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["verifiers", "groups", "dynamic", "chat"])
def test_training_is_the_same(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = tiny_model()
    (tmp_path / "m.py").write_text(MODULE)
    extra = ", dynamic_sampling: {max_rounds: 2}" if kind == "dynamic" else ""
    longest = 240 if kind == "groups" else 60  # whole groups end before the batch does
    rewards = "{use: './m.py:rank'}" if kind == "groups" else "{use: './m.py:second'}"
    (tmp_path / "m.yaml").write_text(f"""\
name: x
model: {model}
failure_budget: 1.0
stages:
  - id: rl
    use: grpo
    data: [{{use: './m.py:Rows', params: {{chat: {str(kind == "chat").lower()}}}}}]
    rewards: [{{use: './m.py:letters'}}, {rewards}]
    params: {{max_steps: 3, num_generations: 4, per_device_train_batch_size: 16, max_completion_length: {longest},
              learning_rate: 0.01{extra}}}
""")
    early_calls: list[int] = []
    score = Rubric.score

    def counted(self: Rubric, rollouts: Any, *args: Any, early: bool = False, **kwargs: Any) -> Any:
        early_calls.extend([len(rollouts)] if early else [])
        return score(self, rollouts, *args, early=early, **kwargs)

    monkeypatch.setattr(Rubric, "score", counted)
    left = []
    for name in ("early", "late"):
        if name == "late":
            monkeypatch.setattr(Rubric, "early_names", frozenset())
        execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / name, [])
        stage = tmp_path / name / "stages/rl"
        weights = {k: v.tolist() for k, v in load_file(stage / "output/model.safetensors").items()}
        records = [without_times(one) for one in lines(stage / "rollouts.jsonl")]
        told = [without_times(one) for one in lines(tmp_path / name / "events.jsonl")]
        metrics = [one["metrics"] for one in told if one["event"] == "stage_progress"]
        asked = Counter((tmp_path / "asked.txt").read_text().split("\n"))
        (tmp_path / "asked.txt").unlink()
        left.append((weights, records, metrics, asked))
        if name == "early":
            assert sum(early_calls) > 0
            early_calls.clear()
    assert not early_calls
    assert left[0][3] == left[1][3], "nothing is judged twice"
    assert left[0] == left[1]
