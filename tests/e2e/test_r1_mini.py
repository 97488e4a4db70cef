"""The recipe r1-mini, all of its stages in a few steps: killed at random and resumed, it ends like an unbroken run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from warm_python import Process, WarmPython

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
    "stages.r1.evaluation.data.0.limit": 20,
    "stages.r1.evaluation.data.1.limit": 10,
    "stages.evaluate.data.0.limit": 20,
    "stages.evaluate.data.1.limit": 10,
}
REINFORCED = ("zero", "reasoning", "r1")
BATCH = {"max_steps": 3, "per_device_train_batch_size": 16, "save_steps": 1, "max_completion_length": 24}


def command(folder: Path) -> list[str]:
    changes = dict(FEW_STEPS)
    for stage in REINFORCED:
        changes |= {f"stages.{stage}.params.{name}": value for name, value in BATCH.items()}
    for stage in ("harvest", "general", "evaluate"):
        changes[f"stages.{stage}.params.max_completion_length"] = 64
    options = [part for place, value in changes.items() for part in ("--set", f"{place}={value}")]
    return ["-m", "guerdon", "run", "r1-mini", "-o", str(folder), *options]


def kill_at(run: Process, events: Path, count: int) -> None:
    """Kill a run when it has logged so many events."""
    while run.poll() is None and (not events.exists() or events.read_bytes().count(b"\n") < count):
        time.sleep(0.05)
    run.kill()


def results(folder: Path) -> dict[str, Any]:
    return {
        path.parent.name: json.loads(path.read_text())["metrics"]
        for path in folder.glob("stages/*/result.json")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)  # many short runs, each with its imports
def test_the_whole_pipeline_killed_and_resumed_ends_like_an_unbroken_one(
    tmp_path: Path, warm_python: WarmPython
) -> None:
    whole = warm_python.run(*command(tmp_path / "whole"), timeout=600)
    assert whole.returncode == 0, whole.stderr
    expected = results(tmp_path / "whole")
    assert len(expected) == 10
    table = expected["evaluate"]["tables"]["evaluation"]
    assert [row["model"] for row in table] == ["base", "zero", "cold_start", "reasoning", "sft", "r1"]

    broken = tmp_path / "broken"
    rng = random.Random(os.urandom(8))
    events = (tmp_path / "whole/events.jsonl").read_bytes().count(b"\n")
    for least, most in ((0.1, 0.4), (0.5, 0.8)):
        with warm_python.start(*command(broken)) as run:
            kill_at(run, broken / "events.jsonl", round(rng.uniform(least, most) * events))
            assert run.wait() == -signal.SIGKILL
    # A new interpreter, which has other hashes of strings.
    last = subprocess.run(
        [sys.executable, *command(broken)], text=True, capture_output=True, timeout=600, check=False
    )
    assert last.returncode == 0, last.stderr
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
