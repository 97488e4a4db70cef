"""A stranger writes a plugin distribution, installs it, trains with it, and removes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "strangers-plugin"
version = "3.1.4"

[project.entry-points."guerdon.verifiers"]
vowels = "strangers_plugin:vowels"

[project.entry-points."guerdon.rewards"]
brevity = "strangers_plugin:brevity_reward"
"""

# Neither function knows of guerdon; the second is a TRL reward function as TRL's documentation writes them.
MODULE = '''
def vowels(completion, reference, *, share: float = 0.5):
    """1 for a completion with enough vowels.

    Args:
        share: The share of vowels that is enough.
    """
    letters = [c for c in completion.lower() if c.isalpha()]
    return bool(letters) and sum(c in "aeiou" for c in letters) / len(letters) >= share


def brevity_reward(completions, completion_ids, **kwargs):
    return [-len(ids) / 100 for ids in completion_ids]
'''

MANIFEST = """\
name: strange
stages:
  - id: base
    use: pretrain
    init: none
    data: [{use: arithmetic, params: {kind: pages, seed: 1}, limit: 200}]
    params:
      max_steps: 4
      architecture: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}
  - id: rl
    use: grpo
    init: stage:base
    data: [{use: arithmetic, params: {seed: 2}, split: train, limit: 16}]
    rewards:
      - {use: vowels, params: {share: 0.2}}
      - {use: brevity, weight: 0.5}
    params: {max_steps: 2, num_generations: 4, per_device_train_batch_size: 8, max_completion_length: 8}
"""


@pytest.mark.slow
def test_a_strangers_plugin_from_install_to_uninstall(
    new_environment: Callable[[], Any], tmp_path: Path
) -> None:
    environment = new_environment()
    source = tmp_path / "strangers-plugin"
    (source / "strangers_plugin").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "strangers_plugin" / "__init__.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(MANIFEST)

    before = environment.run(tmp_path, "guerdon", "check", "m.yaml")
    assert before.returncode == 2
    assert "no verifier or reward is named 'vowels'" in before.stderr

    installed = environment.run(tmp_path, "pip", "install", str(source))
    assert installed.returncode == 0, installed.stderr
    listed = json.loads(environment.run(tmp_path, "guerdon", "plugins", "--json").stdout)
    mine = {row["name"]: row for row in listed if row["distribution"] == "strangers-plugin"}
    assert set(mine) == {"vowels", "brevity"}
    assert mine["vowels"]["version"] == "3.1.4"
    shown = environment.run(tmp_path, "guerdon", "plugins", "show", "vowels")
    assert "The share of vowels that is enough." in shown.stdout

    trained = environment.run(tmp_path, "guerdon", "run", "m.yaml")
    assert trained.returncode == 0, trained.stderr
    lines = (tmp_path / "runs/strange/stages/rl/rollouts.jsonl").read_text().splitlines()
    rollouts = [json.loads(line) for line in lines]
    assert {rollout["step"] for rollout in rollouts} == {1, 2}
    for rollout in rollouts:
        scores = rollout["scores"]
        assert scores["vowels"]["value"] in (0.0, 1.0)
        assert scores["brevity"]["value"] < 0
        assert rollout["reward"] == pytest.approx(
            scores["vowels"]["value"] + 0.5 * scores["brevity"]["value"]
        )
    record = json.loads((tmp_path / "runs/strange/run.json").read_text())
    assert ["strangers-plugin", "3.1.4"] in [[p["distribution"], p["version"]] for p in record["plugins"]]

    assert environment.run(tmp_path, "pip", "uninstall", "-y", "strangers-plugin").returncode == 0
    after = environment.run(tmp_path, "guerdon", "run", "m.yaml")
    assert after.returncode == 2
    assert "ManifestError: m.yaml:15: no verifier or reward is named 'vowels'." in after.stderr
    assert "Traceback" not in after.stderr
