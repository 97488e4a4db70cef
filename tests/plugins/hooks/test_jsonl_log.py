import json
from pathlib import Path
from typing import Any

from guerdon import StageResult
from guerdon.hookspecs import RunInfo
from guerdon_plugins.hooks.jsonl_log import JsonlLog


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_info(folder: Path) -> RunInfo:
    (folder / "stages" / "a").mkdir(parents=True, exist_ok=True)
    return RunInfo("x", folder, {}, ["a"])


def test_events_and_rollouts_are_logged(tmp_path: Path) -> None:
    run, log = run_info(tmp_path), JsonlLog()
    log.run_started(run)
    log.stage_started(run, "a", resumed=False)
    log.stage_progress(run, "a", 1, 2, {"reward": 0.5})
    log.rollouts_scored(run, "a", 0, [{"prompt": "p", "reward": None}])
    log.stage_finished(run, "a", StageResult(metrics={"accuracy": 1.0}), 0.5)
    log.run_finished(run, ValueError("late"))
    events = lines(tmp_path / "events.jsonl")
    assert [event["event"] for event in events] == [
        *("run_started", "stage_started", "stage_progress", "stage_finished", "run_finished")
    ]
    assert events[-1]["error"] == "ValueError: late"
    assert lines(tmp_path / "stages/a/rollouts.jsonl") == [{"step": 0, "prompt": "p", "reward": None}]


def test_repeated_steps_and_cut_off_lines_are_dropped(tmp_path: Path) -> None:
    run, first = run_info(tmp_path), JsonlLog()
    first.stage_started(run, "a", resumed=False)
    for step in (1, 2, 3):
        first.stage_progress(run, "a", step, 4, {"reward": step})
        first.rollouts_scored(run, "a", step - 1, [{"try": 1}])
    with (tmp_path / "stages/a/rollouts.jsonl").open("a") as file:
        file.write('{"step": 3, "try"')
    second = JsonlLog()
    second.stage_started(run, "a", resumed=True)
    for step in (3, 4):
        second.stage_progress(run, "a", step, 4, {"reward": -step})
        second.rollouts_scored(run, "a", step - 1, [{"try": 2}])
    rewards = [
        line["metrics"]["reward"]
        for line in lines(tmp_path / "events.jsonl")
        if line["event"] == "stage_progress"
    ]
    assert rewards == [1, 2, -3, -4]
    assert [(line["step"], line["try"]) for line in lines(tmp_path / "stages/a/rollouts.jsonl")] == [
        *((0, 1), (1, 1), (2, 2), (3, 2))
    ]


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    run, first = run_info(tmp_path), JsonlLog()
    first.run_started(run)
    first.stage_progress(run, "a", 1, 4, {"reward": 1})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    second = JsonlLog()
    second.run_started(run)
    second.stage_progress(run, "a", 2, 4, {"reward": 2})
    assert [line["event"] for line in lines(tmp_path / "events.jsonl")] == [
        *("run_started", "stage_progress", "run_started", "stage_progress")
    ]


def test_a_stage_made_anew_forgets_the_old_ones_progress(tmp_path: Path) -> None:
    run = run_info(tmp_path)
    for value in (1, 2):
        log = JsonlLog()
        log.stage_started(run, "a", resumed=False)
        log.stage_progress(run, "a", 5, 5, {"reward": value})
    kept = [
        line["metrics"]["reward"]
        for line in lines(tmp_path / "events.jsonl")
        if line["event"] == "stage_progress"
    ]
    assert kept == [2]


def test_the_step_that_a_stage_goes_on_from_keeps_its_metrics(tmp_path: Path) -> None:
    run = RunInfo("x", tmp_path, {}, ["a"])
    for steps in ([0, 1, 2, 3], [2, 3, 4]):  # the first try, and one from the checkpoint of step 2
        log = JsonlLog()
        log.stage_progress(run, "a", steps[0], 4, {})
        for step in steps[1:]:
            log.stage_progress(run, "a", step, 4, {"reward": step})
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
