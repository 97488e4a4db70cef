"""A launch of two processes samples, scores and reports what one process does, and resumes with one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPython

from guerdon import Model

MODULE = """
import json
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

def note(*case):
    with open("judged", "a") as file:
        file.write(json.dumps([os.environ["RANK"], case]) + "\\n")

def letters(completion):
    note(completion)
    return min(1.0, sum(map(str.isalpha, completion)) / 4)

def spread(completions):
    note(*completions)
    return [len(set(completions)) / len(completions)] * len(completions)
spread.guerdon_kind = "group_reward"

def odd(completion):
    if len(completion) % 3 == 0:
        raise RuntimeError("odd")
    return 1.0
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


def outputs(folder: Path, stages: Sequence[str] = ("harvest", "table", "sweep")) -> dict[str, Any]:
    """Return all that the stages left: metrics, rollouts and rows."""
    found: dict[str, Any] = {}
    for stage in stages:
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


@pytest.mark.slow
def test_each_machine_judges_what_its_processes_sample(
    small_model: Model, tmp_path: Path, warm_python: WarmPython
) -> None:
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "m.yaml").write_text(f"""\
name: x
model: {small_model.path}
failure_budget: 1.0
stages:
  - id: harvest
    use: sample
    data: [{{use: './m.py:Rows'}}]
    rewards:
      - {{use: './m.py:letters'}}
      - {{use: './m.py:spread'}}
      - {{use: './m.py:odd', on_failure: {{retry: 1, then: skip}}}}
    params: {{keep: {{letters: 0.0}}, num_generations: 2, max_completion_length: 80, per_device_eval_batch_size: 2}}
  - id: table
    use: evaluate
    init: base
    data: [{{use: './m.py:Rows'}}]
    rewards: [{{use: './m.py:letters'}}, {{use: './m.py:odd'}}]
    params: {{num_generations: 3, max_completion_length: 12, per_device_eval_batch_size: 6}}
""")
    judged: dict[str, list[str]] = {}
    for processes, machines, name in ((1, 1, "one"), (4, 2, "four")):
        command = "-m", "guerdon", "run", "m.yaml", "-o", name
        ranks = warm_python.launch(processes, *command, machines=machines, cwd=tmp_path)
        assert {rank.returncode for rank in ranks} == {0}, ranks[0].stderr[-3000:]
        judged[name] = (tmp_path / "judged").read_text().splitlines()
        (tmp_path / "judged").unlink()
    stages = ("harvest", "table")
    assert outputs(tmp_path / "four", stages) == outputs(tmp_path / "one", stages)
    by_host = [{str(case) for rank, case in map(json.loads, judged["four"]) if rank == host} for host in "02"]
    assert set.union(*by_host) == {str(case) for _, case in map(json.loads, judged["one"])}
    assert min(map(len, by_host)) > len(judged["one"]) / 4
    assert len(set.intersection(*by_host)) < 5  # only equal completions are judged on both
    assert not list((tmp_path / "four").rglob("*answers*"))
