"""Records of judged rollouts: what they hold, and that they need no deep-learning library."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from guerdon.records import record
from guerdon.types import Failure, Judgement, Rollout, Score, Verdict

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
    ["guerdon.records", "guerdon_plugins.stages.sampling.sample", "guerdon_plugins.stages.sampling.evaluate"],
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
