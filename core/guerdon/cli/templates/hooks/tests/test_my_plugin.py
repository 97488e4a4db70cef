"""Tests of the hooks at a run's events. The kit also checks that they fit all events."""

import json
from pathlib import Path

from guerdon import StageResult
from guerdon.hookspecs import RunInfo
from guerdon.testing import HooksConformance

from guerdon_my_plugin import MyPlugin


class TestMyPlugin(HooksConformance):
    plugin = "my_plugin"


def test_the_best_rollout_is_kept(tmp_path: Path) -> None:
    hooks = MyPlugin()
    hooks.rollouts_scored("rl", [{"reward": 0.5}, {"reward": None}])
    hooks.rollouts_scored("rl", [{"reward": 0.2}])
    hooks.stage_finished(RunInfo("a-run", tmp_path, {}, ["rl"]), "rl", StageResult())
    assert json.loads((tmp_path / "my_plugin.jsonl").read_text()) == {"stage": "rl", "reward": 0.5}
