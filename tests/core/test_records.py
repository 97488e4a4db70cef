"""Records of judged rollouts: what they hold, and that they need no deep-learning library."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from guerdon.manifest.rubrics import plugin_entries
from guerdon.offline.columns import to_rollout
from guerdon.records import record
from guerdon.rubric import Rubric
from guerdon.types import Failure, Judgement, Rollout, Score, ToolCall, Verdict

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "trl", "accelerate", "peft", "datasets", "vllm"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import {module}
"""


@pytest.mark.parametrize(
    "module",
    [
        "guerdon.records",
        "guerdon_plugins.stages.sampling.sample",
        "guerdon_plugins.stages.sampling.evaluate",
    ],
)
def test_module_without_the_train_extra_imports(module: str) -> None:
    script = BLOCKED.format(module=module)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_record_holds_the_rows_columns_as_json() -> None:
    verdicts = {
        "a": Verdict(Score(0.5), 2.0, 1.0),
        "b": Verdict(Score.failed(Failure.TIMEOUT, "late"), 1.0, 1.0),
    }
    rollout = Rollout("p", "c", {"reference": np.int64(7), "tests": ["x"], "set": {1}}, [1, 2, 3])
    written = record(rollout, Judgement.of(verdicts), group=4)
    assert json.loads(json.dumps(written)) == written
    assert written["columns"] == {"reference": 7, "tests": ["x"], "set": "{1}"}
    assert (written["group"], written["completion_tokens"], written["reward"]) == (4, 3, None)
    assert written["scores"]["a"]["counted"] == 1.0


def test_record_of_a_rollout_with_tools_is_scored_as_the_rollout() -> None:
    turns = [
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "4"},
    ]
    calls = [ToolCall("look", {"x": 1}, "4"), ToolCall("look", {}, "{'error': 'no x'}", "arguments", 1, 2.5)]
    columns = {"expected_calls": [{"name": "look"}]}
    whole = Rollout("p", turns, columns, calls=calls, environment={"n": [1]}, environment_reward=0.25)
    lost = Rollout("p", turns, columns, calls=calls, broken="environment 'maze': reset() ended its process")
    entries = [entry for name in ("tool_use", "environment") for entry in plugin_entries(name, {})]
    with Rubric(entries) as rubric:
        first = rubric.score([whole, lost])
        lines = [json.dumps(record(*pair)) for pair in zip([whole, lost], first, strict=True)]
        again = [to_rollout("row", json.loads(line), {}) for line in lines]
        second = rubric.score(again)
    assert [(one.calls, one.environment, one.broken) for one in again] == [
        (one.calls, one.environment, one.broken) for one in (whole, lost)
    ]
    for before, now in zip(first, second, strict=True):
        assert before.reward == now.reward
        scores = [[verdict.score for verdict in one.verdicts.values()] for one in (before, now)]
        assert scores[0] == scores[1]
    assert [one.reward for one in second] == [pytest.approx(2 / 3 + 0.25), None]
