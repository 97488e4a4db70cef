"""kill -9 at any moment, then run again: the run ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from warm_python import WarmPython

SCRIPT = Path(__file__).with_name("stage_process.py")
MID_EPOCH, EPOCH_END, ONE_EPOCH = 28, 20, 50
"""Rows with which the checkpoint of step 9 falls into an epoch, between two, or into the only one."""

Run = Callable[..., int]


@pytest.fixture(scope="module")
def run(tiny_model: Callable[..., Path], warm_python: WarmPython) -> Run:
    """Runs the stage in a folder, in a process of its own, and gives the exit code."""
    model = tiny_model()

    def run_stage(folder: Path, kill: str = "never", rows: int = MID_EPOCH, **options: Any) -> int:
        folder.mkdir(exist_ok=True)
        return warm_python.run(SCRIPT, model, folder, str(rows), kill, json.dumps(options)).returncode

    return run_stage


@pytest.fixture(scope="module")
def unbroken(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    @cache
    def unbroken_run(rows: int) -> Path:
        folder = tmp_path_factory.mktemp("unbroken")
        assert run(folder, rows=rows) == 0
        return folder

    return unbroken_run


def last_words(folder: Path, kind: str) -> dict[int, Any]:
    """What was logged last of every step, but for the time that it took."""
    known = {}
    for line in (folder / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == kind and entry.get("metrics") != {}:
            entry.get("metrics", {}).pop("step_time", None)
            known[entry["step"]] = entry
    return known


def check_equal(ours: Path, theirs: Path) -> None:
    """Two runs have the same weights and the same log."""
    first, second = (load_file(folder / "output" / "model.safetensors") for folder in (ours, theirs))
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)
    assert (ours / "metrics.json").read_text() == (theirs / "metrics.json").read_text()
    assert last_words(ours, "rollouts") == last_words(theirs, "rollouts")
    assert last_words(ours, "progress") == last_words(theirs, "progress")


@pytest.mark.parametrize(
    ("kill", "rows"),
    [
        ("rollout:2", MID_EPOCH),  # before the first checkpoint
        ("rollout:10", MID_EPOCH),
        ("rollout:10", EPOCH_END),
        ("checkpoint:9", MID_EPOCH),
    ],
)
def test_a_killed_run_ends_as_an_unbroken_one(
    run: Run, unbroken: Callable[[int], Path], tmp_path: Path, kill: str, rows: int
) -> None:
    whole = unbroken(rows)
    assert run(tmp_path, kill, rows) == -signal.SIGKILL
    assert run(tmp_path, rows=rows) == 0

    check_equal(tmp_path, whole)


def test_kill_during_dynamic_sampling_ends_as_an_unbroken_run(run: Run, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    rounds = {"max_rounds": 3}
    assert run(whole, dynamic_sampling=rounds) == 0
    assert run(killed, "rollout:10", dynamic_sampling=rounds) == -signal.SIGKILL
    assert run(killed, dynamic_sampling=rounds) == 0
    check_equal(killed, whole)
    steps = [entry["metrics"] for entry in last_words(whole, "progress").values()]
    assert any(step.get("dynamic_sampling/rounds", 0) > 1 for step in steps)


def test_kill_during_a_curriculum_ends_as_an_unbroken_run(run: Run, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, curriculum_by="rest") == 0
    assert run(killed, "rollout:10", curriculum_by="rest") == -signal.SIGKILL
    assert run(killed, curriculum_by="rest") == 0
    check_equal(killed, whole)
    steps = [entry["metrics"] for entry in last_words(whole, "progress").values()]
    assert {step.get("curriculum/1/signal") for step in steps} <= {0.0, None}


def test_a_stream_trains_as_the_same_rows_in_memory_and_resumes_after_a_kill(
    run: Run, tmp_path: Path
) -> None:
    memory, streamed, killed = (tmp_path / name for name in ("memory", "streamed", "killed"))
    in_order: dict[str, Any] = {"rows": ONE_EPOCH, "shuffle_dataset": False}
    assert run(memory, **in_order) == 0
    assert run(streamed, **in_order, streaming=True) == 0
    check_equal(streamed, memory)
    assert run(killed, "rollout:10", **in_order, streaming=True) == -signal.SIGKILL
    assert run(killed, **in_order, streaming=True) == 0
    check_equal(killed, memory)


def test_a_run_killed_in_the_second_pass_of_a_stream_ends_as_an_unbroken_one(
    run: Run, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, streaming=True) == 0
    assert run(killed, "rollout:10", streaming=True) == -signal.SIGKILL
    assert run(killed, streaming=True) == 0
    check_equal(killed, whole)


def test_a_killed_run_with_a_token_budget_ends_as_an_unbroken_one(
    run: Run, unbroken: Callable[[int], Path], tmp_path: Path
) -> None:
    """Steps 9 and 10 train on the same rollouts, whose old log-probabilities the checkpoint between them keeps."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    budget: dict[str, Any] = {"max_tokens_per_micro_batch": 30}
    assert run(whole, **budget) == 0
    assert run(killed, "rollout:10", **budget) == -signal.SIGKILL
    assert run(killed, **budget) == 0
    check_equal(killed, whole)
    ours, without = (
        load_file(folder / "output" / "model.safetensors") for folder in (whole, unbroken(MID_EPOCH))
    )
    assert any((ours[name] != without[name]).any() for name in ours)  # parts round in another way


def test_a_resumed_run_says_first_where_it_goes_on_from(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path, "rollout:6") == -signal.SIGKILL
    lines = len((tmp_path / "log.jsonl").read_text().splitlines())
    assert run(tmp_path) == 0

    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[lines])
    assert first == {"kind": "progress", "step": 6, "metrics": {}}


def test_too_few_rows_for_one_batch_are_an_error(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path, rows=7) == 1


@pytest.mark.parametrize(
    "damaged", ["model.safetensors", "optimizer.pt", "trainer_state.json", "between_steps_0.pt"]
)
def test_resume_with_a_damaged_newest_checkpoint_ends_as_an_unbroken_run(
    run: Run, unbroken: Callable[[int], Path], tmp_path: Path, damaged: str
) -> None:
    assert run(tmp_path, "rollout:10") == -signal.SIGKILL
    path = tmp_path / "work/checkpoint-9" / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(tmp_path) == 0
    ours, theirs = (
        load_file(folder / "output" / "model.safetensors") for folder in (tmp_path, unbroken(MID_EPOCH))
    )
    assert all((ours[name] == theirs[name]).all() for name in theirs)
