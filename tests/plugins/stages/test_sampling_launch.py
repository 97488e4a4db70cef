"""A launch of two processes samples, scores and reports what one process does, and resumes with one."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPython

from guerdon import Model

MODULE = """
import os
import signal
from guerdon.hookspecs import hookimpl

class Killer:
    @hookimpl
    def stage_progress(self, stage_id, step):
        if os.environ.get("KILLED_IN") == stage_id and step >= 6:
            os.kill(os.getpid(), signal.SIGKILL)

class Rows:
    def __iter__(self):
        return ({"prompt": [{"role": "user", "content": f"What is {i} + 1?"}], "task": f"t{i % 2}"} for i in range(13))

def letters(completion):
    return min(1.0, sum(map(str.isalpha, completion)) / 4)
"""

MANIFEST = """\
name: x
model: {model}
hooks: [{{use: './m.py:Killer'}}]
stages:
  - id: harvest
    use: sample
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:letters'}}]
    params: {{keep: {{letters: 0.0}}, num_generations: 2, max_completion_length: 80, per_device_eval_batch_size: 3}}
  - id: table
    use: evaluate
    init: base
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:letters'}}]
    params: {{num_generations: 3, max_completion_length: 12, per_device_eval_batch_size: 6, metrics_by: task}}
  - id: sweep
    use: evaluate
    init: base
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:letters'}}]
    params:
      num_generations: 3
      max_completion_length: 12
      per_device_eval_batch_size: 6
      thinking: [{{max_tokens: 3}}, {{max_tokens: 6, waits: 1}}]
"""


def outputs(folder: Path) -> dict[str, Any]:
    """Return all that the stages left: metrics, rollouts and rows."""
    found: dict[str, Any] = {}
    for stage in ("harvest", "table", "sweep"):
        place = folder / "stages" / stage
        found[f"{stage} result"] = json.loads((place / "result.json").read_text())["metrics"]
        lines = [json.loads(line) for line in (place / "rollouts.jsonl").read_text().splitlines()]
        found[f"{stage} rollouts"] = [
            {
                **line,
                "scores": {
                    name: {key: value for key, value in score.items() if key != "latency_ms"}
                    for name, score in line["scores"].items()
                },
            }
            for line in lines
        ]
    found["rows"] = [path.read_text() for path in sorted((folder / "stages/harvest/output").iterdir())]
    return found


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves_and_a_killed_launch_resumes_with_one(
    small_model: Model, tmp_path: Path, warm_python: WarmPython
) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(MANIFEST.format(model=small_model.path))

    def run(processes: int, output: str, **environment: str) -> list[subprocess.CompletedProcess[str]]:
        command = "-m", "guerdon", "run", "m.yaml", "-o", output
        return warm_python.launch(processes, *command, cwd=tmp_path, env=environment)

    for processes, name in ((1, "one"), (2, "two")):
        ranks = run(processes, name)
        assert {rank.returncode for rank in ranks} == {0}, ranks[0].stderr[-3000:]
        assert "".join(rank.stdout for rank in ranks).count(f"Run folder: {name}") == 1
    expected = outputs(tmp_path / "one")
    assert outputs(tmp_path / "two") == expected
    assert len(expected["harvest rollouts"]) == 26
    assert len(expected["table rollouts"]) == 13 * 4
    assert len(expected["sweep rollouts"]) == 2 * 13 * 4

    for stage in ("harvest", "table", "sweep"):
        killed = run(2, "killed", KILLED_IN=stage)
        assert -signal.SIGKILL in {rank.returncode for rank in killed}
        assert any((tmp_path / "killed/stages" / stage / "work").iterdir())
    (done,) = run(1, "killed")
    assert done.returncode == 0, done.stderr[-3000:]
    assert outputs(tmp_path / "killed") == expected
