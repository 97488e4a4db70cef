"""Every stage of the R1 pipeline on a card, a few steps each: what a user's first run takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu

SHORT = {
    "stages.base.params.max_steps": 200,
    "stages.zero.params.max_steps": 4,
    "stages.reasoning.params.max_steps": 4,
    "stages.r1.params.max_steps": 4,
    "stages.general.data.0.limit": 40,
    "stages.harvest.data.0.limit": 40,
    "stages.evaluate.init": "[stage:base, stage:r1]",
    "stages.evaluate.params.num_generations": 1,
    "stages.evaluate.data.0.limit": 40,
    "stages.evaluate.data.1.limit": 20,
    # Samples of models that barely learned anything do not pass the recipe's filters.
    "stages.harvest.params.keep": "{}",
    "stages.harvest.params.second_filter": "{}",
    "stages.general.params.keep": "{}",
    "stages.general.params.second_filter": "{}",
}


def test_r1_mini_runs_every_stage(tmp_path: Path) -> None:
    changes = [option for path, value in SHORT.items() for option in ("--set", f"{path}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "guerdon", "run", "r1-mini", "-o", str(tmp_path / "run"), *changes],
        cwd=tmp_path, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert "padded" not in done.stderr
    assert "TRL's own loss" not in done.stderr
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    finished = [event["stage"] for event in events if event["event"] == "stage_finished"]
    assert len(finished) == 10
