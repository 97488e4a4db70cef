import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.hookspecs import RunInfo
from guerdon.run.log import RunLog, read_events
from guerdon.run.secrets import Secrets
from guerdon.stage import StageResult


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_info(folder: Path) -> RunInfo:
    (folder / "stages" / "a").mkdir(parents=True, exist_ok=True)
    return RunInfo("x", folder, {}, ["a"])


def test_log_of_a_run_has_events_and_rollouts(tmp_path: Path) -> None:
    run, log = run_info(tmp_path), RunLog()
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


def test_log_of_a_resumed_stage_has_each_step_once(tmp_path: Path) -> None:
    run, first = run_info(tmp_path), RunLog()
    first.stage_started(run, "a", resumed=False)
    for step in (1, 2, 3):
        first.stage_progress(run, "a", step, 4, {"reward": step})
        first.rollouts_scored(run, "a", step - 1, [{"try": 1}])
    with (tmp_path / "stages/a/rollouts.jsonl").open("a") as file:
        file.write('{"step": 3, "try"')
    second = RunLog()
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


def test_log_with_a_torn_line_loses_only_that_line(tmp_path: Path) -> None:
    run, first = run_info(tmp_path), RunLog()
    first.run_started(run)
    first.stage_progress(run, "a", 1, 4, {"reward": 1})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    second = RunLog()
    second.run_started(run)
    second.stage_progress(run, "a", 2, 4, {"reward": 2})
    assert [line["event"] for line in lines(tmp_path / "events.jsonl")] == [
        *("run_started", "stage_progress", "run_started", "stage_progress")
    ]


def test_log_of_a_stage_run_again_forgets_its_old_progress(tmp_path: Path) -> None:
    run = run_info(tmp_path)
    for value in (1, 2):
        log = RunLog()
        log.stage_started(run, "a", resumed=False)
        log.stage_progress(run, "a", 5, 5, {"reward": value})
    kept = [
        line["metrics"]["reward"]
        for line in lines(tmp_path / "events.jsonl")
        if line["event"] == "stage_progress"
    ]
    assert kept == [2]


def test_log_keeps_the_metrics_of_the_step_that_a_stage_resumes_from(tmp_path: Path) -> None:
    run = RunInfo("x", tmp_path, {}, ["a"])
    for steps in ([0, 1, 2, 3], [2, 3, 4]):  # the first try, and one from the checkpoint of step 2
        log = RunLog()
        log.stage_progress(run, "a", steps[0], 4, {})
        for step in steps[1:]:
            log.stage_progress(run, "a", step, 4, {"reward": step})
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "torn", ["12\n", "{}\n", '"text"\n', '{"step": "x"}\n', '{"event": "stage_progress", "st', "\x00\x00"]
)
def test_log_after_any_torn_line_is_written_further(tmp_path: Path, torn: str) -> None:
    run = run_info(tmp_path)
    for name in ("events.jsonl", "stages/a/rollouts.jsonl"):
        (tmp_path / name).write_text(
            '{"time": "2026-01-01T00:00:00", "event": "run_started", "step": 1}\n' + torn
        )
    log = RunLog()
    log.run_started(run)
    log.stage_started(run, "a", resumed=True)
    log.stage_progress(run, "a", 2, 4, {"reward": 2})
    log.rollouts_scored(run, "a", 2, [{"try": 2}])
    log.run_finished(run, None)
    assert [line["event"] for line in lines(tmp_path / "events.jsonl")][-3:] == [
        *("stage_started", "stage_progress", "run_finished")
    ]
    assert lines(tmp_path / "stages/a/rollouts.jsonl")[-1] == {"step": 2, "try": 2}


def test_log_of_an_error_hides_secrets(tmp_path: Path) -> None:
    run = run_info(tmp_path)
    log = RunLog(Secrets({"hub_token": "abc-secret-1"}))
    log.run_started(run)
    log.run_finished(run, ValueError("401 for abc-secret-1"))
    assert lines(tmp_path / "events.jsonl")[-1]["error"] == "ValueError: 401 for ***"


def test_read_events_returns_what_the_log_wrote(tmp_path: Path) -> None:
    run, log = run_info(tmp_path), RunLog()
    log.run_started(run)
    log.stage_started(run, "a", resumed=False)
    log.stage_progress(run, "a", 1, 2, {"reward": 0.5})
    log.stage_finished(run, "a", StageResult(metrics={"accuracy": 1.0}), 0.5)
    log.run_finished(run, ValueError("late"))
    read = read_events(tmp_path / "events.jsonl")
    assert read.progress == {"a": {1: {"reward": 0.5}}}
    assert read.finished["a"]["metrics"] == {"accuracy": 1.0}
    assert read.error == "ValueError: late"
    assert read.unreadable == 0
