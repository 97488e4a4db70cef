"""A model trains on OpenEnv's own echo server, and on a task of Harbor's own template."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from openenv_packages import PACKAGES

PAGES = """
import json, random


class Pages:
    '''Conversations in which careless authors make a call with one of several values.'''

    def __init__(self, prompts, tool, arguments, values, answers):
        self.given = prompts, tool, arguments, values, answers

    def __iter__(self):
        prompts, tool, arguments, values, answers = self.given
        draw = random.Random(0)
        for number in range(600):
            value = draw.choice(values)
            called = json.loads(json.dumps(arguments).replace("VALUE", value))
            call = {"type": "function", "function": {"name": tool, "arguments": called}}
            result = answers.replace("VALUE", value).replace("LENGTH", str(len(value)))
            yield {
                "prompt": [{"role": "user", "content": draw.choice(prompts)}],
                "completion": [
                    {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "name": tool, "content": result},
                    {"role": "assistant", "content": "done"},
                ],
                "split_key": str(number),
            }


class Echoes:
    def __iter__(self):
        return ({"prompt": [{"role": "user", "content": "Say a word."}], "id": number} for number in range(16))
"""

MANIFEST = """
name: bridge
stages:
  - id: base
    use: pretrain
    init: none
    data: [{{use: "./pages.py:Pages", params: {pages}}}]
    params:
      max_steps: 100
      learning_rate: 3.0e-3
      per_device_train_batch_size: 32
      architecture: {{hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 128}}
  - id: rl
    use: grpo
    init: stage:base
    data: [{data}]
    environments: [{environment}]
    rewards: [{{use: environment}}]
    params:
      max_steps: 2
      num_generations: 8
      per_device_train_batch_size: 8
      max_completion_length: 96
      max_tool_calling_iterations: 1
"""


def train(folder: Path, pages: Any, data: Any, environment: Any) -> list[dict[str, Any]]:
    """Pretrain on pages, train in an environment, and return the rollouts."""
    (folder / "pages.py").write_text(PAGES)
    parts = {"pages": pages, "data": data, "environment": environment}
    text = MANIFEST.format(**{name: json.dumps(value) for name, value in parts.items()})
    (folder / "m.yaml").write_text(text)
    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "guerdon", command, "m.yaml"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    lines = (folder / "runs/bridge/stages/rl/rollouts.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def said(rollout: dict[str, Any], *path: str) -> list[Any]:
    """Return one argument of each call of a rollout; ``None`` where a call has another form."""
    values = []
    for call in rollout.get("tool_calls", ()):
        value = call["arguments"]
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        values.append(value if isinstance(value, str) and call["failure"] is None else None)
    return values


def check(rollouts: Sequence[dict[str, Any]], rewards: Sequence[float]) -> None:
    """Check that each rollout has its reward, that rewards differ, and that no environment was lost."""
    assert len(rollouts) == 16
    assert not [rollout["broken"] for rollout in rollouts if "broken" in rollout]
    assert [rollout["reward"] for rollout in rollouts] == pytest.approx(rewards)
    assert [rollout["environment_reward"] for rollout in rollouts] == pytest.approx(rewards)
    assert len(set(rewards)) > 1


OPENENV = """
import json, socket, sys, threading
from pathlib import Path
import openenv, uvicorn

NAMES = {"__ENV_NAME__": "echo_env", "__ENV_CLASS_NAME__": "Echo", "__ENV_TITLE_NAME__": "Echo"}
template = Path(openenv.__file__).parent / "cli/templates/openenv_env"
for path in ("models.py", "server/__init__.py", "server/app.py", "server/__ENV_NAME___environment.py"):
    text = (template / path).read_text()
    for name, value in NAMES.items():
        text, path = text.replace(name, value), path.replace(name, value)
    (Path("echo_env") / path).parent.mkdir(parents=True, exist_ok=True)
    (Path("echo_env") / path).write_text(text.replace("max_concurrent_envs=1", "max_concurrent_envs=8"))
Path("echo_env/__init__.py").touch()
sys.path.insert(0, ".")
from echo_env.server.app import app

listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print(json.dumps([listening.getsockname()[1]]), flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listening])
"""


@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_model_trains_on_openenvs_own_server(peer: Any, tmp_path: Path) -> None:
    paths = [str(peer(*PACKAGES).folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", OPENENV]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            (port,) = json.loads(next(line for line in server.stdout if line.startswith("[")))
            rollouts = train(
                tmp_path,
                {
                    "prompts": [
                        'Say a word.\n\n{"echoed_message": "Echo environment ready!", "message_length": 0}'
                    ],
                    "tool": "step",
                    "arguments": {"action": {"message": "VALUE"}},
                    "values": ["no", "never", "seven"],
                    "answers": '{"echoed_message": "VALUE", "message_length": LENGTH}',
                },
                {"use": "./pages.py:Echoes"},
                {"use": "openenv", "params": {"server": f"http://127.0.0.1:{port}", "describe": False}},
            )
        finally:
            server.kill()
    messages = [said(rollout, "action", "message") for rollout in rollouts]
    # The template's server gives a tenth for each letter, at most 1.
    check(rollouts, [sum(min(0.1 * len(text), 1.0) for text in texts if text) for texts in messages])
    for rollout in rollouts:
        assert rollout["environment"]["steps"] == rollout["environment"]["state"]["step_count"]


HARBOR_TEST = """
from pathlib import Path


def test_outputs():
    assert Path("/app/answer.txt").read_text() == "WORD\\n"
"""


@pytest.mark.docker
@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_model_trains_on_a_task_of_harbors_own_template(
    peer: Any, docker_engine: None, tmp_path: Path
) -> None:
    template = peer("harbor==0.26.0", any_python=True).folder / "harbor/cli/template-task"
    words = ["blue", "red"]
    for word in words:
        task = tmp_path / "tasks" / word
        for path in ("task.toml", "environment/Dockerfile", "solution/solve.sh"):
            (task / path).parent.mkdir(parents=True, exist_ok=True)
            (task / path).write_bytes((template / path).read_bytes())
        (task / "tests").mkdir()
        for path in (template / "pytest-tests").iterdir():
            (task / "tests" / path.name).write_bytes(path.read_bytes())
        (task / "tests/test_outputs.py").write_text(HARBOR_TEST.replace("WORD", word))
        (task / "instruction.md").write_text(f"Write {word}.")
    rollouts = train(
        tmp_path,
        {
            "prompts": [f"Write {word}." for word in words],
            "tool": "shell",
            "arguments": {"command": "echo VALUE > answer.txt"},
            "values": words,
            "answers": "[no output]",
        },
        {"use": "harbor", "params": {"path": "tasks", "built": True}},
        {"use": "shell", "params": {"folder": "/app", "writable": ["/tmp", "/logs"], "command_s": 10}},
    )
    commands = [said(rollout, "command") for rollout in rollouts]
    right = [f"echo {rollout['columns']['task']} > answer.txt" for rollout in rollouts]
    check(rollouts, [float(done == [wanted]) for done, wanted in zip(commands, right, strict=True)])
