"""The recipe r1-mini, all of its stages in a few steps: killed at random and resumed, it ends like an unbroken run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# A few steps teach a model nothing that would pass the filters.
FEW_STEPS = {
    "stages.base.data.0.limit": 400,
    "stages.base.data.1.limit": 100,
    "stages.base.params.max_steps": 30,
    "stages.base.params.save_steps": 10,
    "stages.base.params.architecture.hidden_size": 32,
    "stages.base.params.architecture.num_attention_heads": 4,
    "stages.base.params.architecture.intermediate_size": 64,
    "stages.cold_start.data.0.limit": 40,
    "stages.preference_model.data.0.limit": 40,
    "stages.preference_model.data.1.limit": 40,
    "stages.harvest.data.0.limit": 40,
    "stages.harvest.params.keep": "{}",
    "stages.harvest.params.second_filter": "{preference: -100}",
    "stages.general.data.0.limit": 20,
    "stages.general.params.keep": "{}",
    "stages.general.params.second_filter": "{preference: -100}",
    "stages.evaluate.data.0.limit": 20,
    "stages.evaluate.data.1.limit": 10,
}
REINFORCED = ("zero", "reasoning", "r1")
BATCH = {"max_steps": 3, "per_device_train_batch_size": 16, "save_steps": 1, "max_completion_length": 24}
KILLS = 2


def command(folder: Path) -> list[str]:
    changes = dict(FEW_STEPS)
    for stage in REINFORCED:
        changes |= {f"stages.{stage}.params.{name}": value for name, value in BATCH.items()}
    for stage in ("harvest", "general", "evaluate"):
        changes[f"stages.{stage}.params.max_completion_length"] = 64
    options = [part for place, value in changes.items() for part in ("--set", f"{place}={value}")]
    return [sys.executable, "-m", "guerdon", "run", "r1-mini", "-o", str(folder), *options]


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command(folder), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def results(folder: Path) -> dict[str, Any]:
    return {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in folder.glob("stages/*/result.json")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)  # many short runs, each with its imports
def test_the_whole_pipeline_killed_and_resumed_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    output, _ = whole.communicate(timeout=600)
    assert whole.returncode == 0, output
    expected = results(tmp_path / "whole")
    assert len(expected) == 10
    table = expected["evaluate"]["tables"]["evaluation"]
    assert [row["model"] for row in table] == ["base", "zero", "cold_start", "reasoning", "sft", "r1"]

    broken = tmp_path / "broken"
    rng = random.Random(os.urandom(8))
    killed = 0
    while True:
        run = start(broken)
        try:
            output, _ = run.communicate(timeout=rng.uniform(8, 25) if killed < KILLS else 600)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            killed += 1
            continue
        break
    assert run.returncode == 0, output
    assert killed, "the first try ended before it could be killed"
    assert comparable(results(broken)) == comparable(expected)
    for stage in ("harvest", "general"):
        rows = [
            sorted((folder / "stages" / stage / "output").glob("*.jsonl"))
            for folder in (broken, tmp_path / "whole")
        ]
        assert [file.read_text() for file in rows[0]] == [file.read_text() for file in rows[1]]


def comparable(metrics: dict[str, Any]) -> dict[str, Any]:
    """Without times and memory, which no two runs share."""
    return {
        stage: {
            name: value
            for name, value in numbers.items()
            if not name.startswith(("seconds", "peak_", "tokens_per"))
        }
        for stage, numbers in metrics.items()
    }
