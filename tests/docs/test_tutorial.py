"""The tutorial, from an empty folder to a trained step and a wheel, and how to publish; every command as it stands."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, run_page

PAGE = "docs/tutorial/first-verifier.md"
ENVIRONMENT = "docs/tutorial/first-environment.md"
PUBLISHING = "docs/how-to/publish-a-plugin.md"
USING = "docs/how-to/use-the-model.md"


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time: about a minute of work, on a machine that may be busy
def test_every_command_of_the_tutorial(
    new_environment: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = new_environment()
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = list(run_page(PAGE, tmp_path, environment.variables))
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with capsys.disabled():
        sys.stdout.write(
            "\n".join(["", PAGE, *map(str, ran), f"{seconds:6.1f} s  in all; {cpu:.0f} s of CPU time\n"])
        )

    first, second = [one.output for one in ran if "plugins test" in one.command]
    assert "the hack '.' (an answer that says nothing) earns 1; it may earn 0 at most." in first
    assert "failed" not in second
    rollouts = [json.loads(line) for line in (tmp_path / "runs/tidy/stages/rl/rollouts.jsonl").open()]
    assert {rollout["step"] for rollout in rollouts} == {1, 2, 3}
    assert all(rollout["scores"]["Tidy"]["outcome"] == "scored" for rollout in rollouts)
    assert (tmp_path / "runs/tidy/stages/rl/output/model.safetensors").exists()
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["guerdon_tidy-0.1.0-py3-none-any.whl"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_every_command_of_the_environment(tmp_path: Path) -> None:
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = list(run_page(ENVIRONMENT, tmp_path, variables))
    assert "passed" in ran[0].output
    rollouts = [json.loads(line) for line in (tmp_path / "runs/warehouse/stages/rl/rollouts.jsonl").open()]
    assert len(rollouts) == 32
    for rollout in rollouts:
        opened = rollout["environment"]["opened"]
        assert (
            rollout["reward"] == rollout["environment_reward"] == float(opened == [rollout["columns"]["box"]])
        )
    assert any(rollout.get("tool_calls") for rollout in rollouts)


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time: about a minute of work, on a machine that may be busy
def test_every_command_of_publishing(new_environment: Callable[[], Any], tmp_path: Path) -> None:
    ran = list(run_page(PUBLISHING, tmp_path, new_environment().variables))
    assert "passed" in ran[0].output
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["guerdon_brevity-0.1.0-py3-none-any.whl"]


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_every_command_of_using_the_model(tmp_path: Path) -> None:
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    list(run_page(USING, tmp_path, variables))
    card = (tmp_path / "runs/tiny/stages/rl/output/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "- `rl`: `grpo` from base; data: arithmetic; rewards: `math` x 1" in card


def test_what_is_not_run_says_why() -> None:
    assert [block.not_run for block in blocks(PAGE) if block.not_run] == [
        "it installs packages from the index",
        "it uploads",
    ]
