"""A manifest that trains a reward model and then a policy on its word, killed and resumed."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from warm_python import WarmPython

MANIFEST = """\
name: liked
seed: 3
stages:
  - id: base
    use: pretrain
    init: none
    data: [{use: arithmetic, params: {kind: pages}, limit: 100}]
    params:
      max_steps: 5
      architecture: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}
  - id: liked
    use: grpo
    init: stage:base
    data: [{use: arithmetic, limit: 16}]
    rewards:
      - use: preference
        name: likes
        params: {model: "stage:judge", part: summary, normalize: zscore, clip: 3.0}
    params:
      max_steps: 6
      num_generations: 4
      per_device_train_batch_size: 8
      max_completion_length: 8
      learning_rate: 1.0e-3
      save_steps: 2
  - id: judge
    use: reward_model
    init: stage:base
    data: [{use: files, params: {path: pairs.jsonl}}]
    params: {max_steps: 4, per_device_train_batch_size: 8, learning_rate: 1.0e-3}
"""


def pair(number: int) -> dict[str, Any]:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return {
        "prompt": said("user", f"{number} + 1 = ?"),
        "chosen": said("assistant", str(number + 1)),
        "rejected": said("assistant", "no"),
    }


@pytest.mark.slow
def test_a_policy_learns_from_the_runs_own_reward_model_killed_or_not(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    (tmp_path / "liked.yaml").write_text(MANIFEST)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair(number)) + "\n" for number in range(40)))
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def run(folder: Path, dies_at: str) -> int:
        script = Path(__file__).with_name("run_process.py")
        return warm_python.run(script, tmp_path / "liked.yaml", folder, dies_at).returncode

    assert run(whole, "never") == 0
    shutil.copytree(whole, broken)
    shutil.rmtree(broken / "stages/liked")
    assert run(broken, "liked/5") == -signal.SIGKILL
    assert run(broken, "never") == 0

    assert json.loads((whole / "run.json").read_text())["stages"] == ["base", "judge", "liked"]
    assert json.loads((whole / "stages/liked/result.json").read_text())["metrics"]["steps"] == 6
    records = [json.loads(line) for line in (whole / "stages/liked/rollouts.jsonl").read_text().splitlines()]
    scores = [record["scores"]["likes"] for record in records]
    assert all(score["outcome"] == "scored" and -3 <= score["value"] <= 3 for score in scores)
    assert len({score["metadata"]["reward_model"] for score in scores}) > 1
    ours, theirs = (load_file(run / "stages/liked/output/model.safetensors") for run in (broken, whole))
    assert all((ours[name] == theirs[name]).all() for name in theirs)
