"""A launch of two processes samples, scores and reports what one process does, and resumes with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
"""


def run(folder: Path, processes: int, output: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    command += ["-m", "guerdon", "run", "m.yaml", "-o", output]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def outputs(folder: Path) -> dict[str, Any]:
    """Return all that the stages left: metrics, rollouts and rows."""
    found: dict[str, Any] = {}
    for stage in ("harvest", "table"):
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
    small_model: Model, tmp_path: Path
) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(MANIFEST.format(model=small_model.path))
    for processes, name in ((1, "one"), (2, "two")):
        done = run(tmp_path, processes, name)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count(f"Run folder: {name}") == 1
    expected = outputs(tmp_path / "one")
    assert outputs(tmp_path / "two") == expected
    assert len(expected["harvest rollouts"]) == 26
    assert len(expected["table rollouts"]) == 13 * 4

    for stage in ("harvest", "table"):
        killed = run(tmp_path, 2, "killed", KILLED_IN=stage)
        assert killed.returncode != 0
        assert any((tmp_path / "killed/stages" / stage / "work").iterdir())
    done = run(tmp_path, 1, "killed")
    assert done.returncode == 0, done.stderr[-3000:]
    assert outputs(tmp_path / "killed") == expected
