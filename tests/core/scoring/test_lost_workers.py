"""A worker that something else kills costs no verdict; a case that kills its worker twice is at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon import Failure, Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric

MODULE = """
import os, signal

def killed(folder, completion):
    \"\"\"End this worker as another process would, as often as the completion says.\"\"\"
    times = int(completion.removeprefix("killed ")) if completion.startswith("killed ") else 0
    calls = os.path.join(folder, f"calls of {completion}")
    with open(calls, "a") as file:
        file.write(".")
    if os.path.getsize(calls) <= times:
        os.kill(os.getpid(), signal.SIGKILL)

def one_by_one(completion, folder):
    killed(folder, completion)
    return 1.0

async def concurrent(completion, folder):
    killed(folder, completion)
    return 1.0

def whole_batch(completions, folder, **columns):
    for completion in completions:
        killed(folder, completion)
    return [1.0] * len(completions)
"""
COMPLETIONS = ["fine 1", "fine 2", "killed", "fine 3", "fine 4"]


def scores(folder: Path, function: str, times: int) -> tuple[list[float | None], list[Failure | None]]:
    (folder / "m.py").write_text(MODULE)
    plugin = find_plugin(f"m.py:{function}", SCORERS, folder)
    entry = Entry(function, load_component(plugin, {"folder": str(folder)}, folder), timeout_s=20.0)
    rollouts = [Rollout("p", f"killed {times}" if text == "killed" else text) for text in COMPLETIONS]
    with Rubric([entry], workers=1) as rubric:
        judgements = rubric.score(rollouts)
    verdicts = [judgement.verdicts[function] for judgement in judgements]
    return [verdict.score.value for verdict in verdicts], [verdict.score.failure for verdict in verdicts]


@pytest.mark.parametrize("function", ["one_by_one", "concurrent", "whole_batch"])
def test_case_whose_worker_was_killed_once_gets_its_verdict(tmp_path: Path, function: str) -> None:
    values, failures = scores(tmp_path, function, 1)
    assert values == [1.0] * 5
    assert failures == [None] * 5


@pytest.mark.parametrize("function", ["one_by_one", "concurrent"])
def test_case_that_always_kills_its_worker_fails_alone(tmp_path: Path, function: str) -> None:
    values, failures = scores(tmp_path, function, 100)
    assert values == [1.0, 1.0, None, 1.0, 1.0]
    assert failures == [None, None, Failure.VERIFIER, None, None]


def test_reward_function_that_always_kills_its_worker_fails_after_two_calls(tmp_path: Path) -> None:
    _, failures = scores(tmp_path, "whole_batch", 100)
    assert failures == [Failure.VERIFIER] * 5
    assert (tmp_path / "calls of killed 100").read_text() == ".."
