"""`guerdon runs`: what each run is doing, in one table."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from viewed_runs import event, write_lines, write_run

from guerdon.cli.main import cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "first", steps=5)
    stopped = write_run(tmp_path / "runs" / "second", steps=3)
    (stopped / "stages/test/result.json").unlink()
    return tmp_path / "runs"


def rows(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        CliRunner().invoke(cli, ["runs", str(folder), "--json"]).output
    )
    return found


def test_runs_are_listed_with_status_step_and_last_reward(folder: Path) -> None:
    first, second = rows(folder)
    assert (first["run"], first["status"], first["stage"], first["step"]) == ("first", "finished", "rl", 5)
    assert first["reward"] == pytest.approx(5 / 60)
    assert (second["status"], second["step"]) == ("stopped", 3)
    shown = CliRunner().invoke(cli, ["runs", str(folder)]).output
    assert "first" in shown
    assert "stopped" in shown


def test_active_run_is_running(folder: Path) -> None:
    with (folder / "second/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [row["status"] for row in rows(folder)] == ["finished", "running"]


def test_run_that_cannot_be_read_does_not_hide_the_others(folder: Path) -> None:
    (folder / "first/run.json").write_text("{")
    first, second = rows(folder)
    assert str(first["status"]).startswith("unreadable: ")
    assert second["status"] == "stopped"


def test_folder_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["runs", str(tmp_path)])
    assert done.exit_code == 0
    assert "No run is in" in done.output


def test_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["runs", str(tmp_path / "none")])
    assert "no such folder" in str(done.exception)


def failed(folder: Path, error: str) -> None:
    """Write a run whose last stage ended with an error."""
    run = write_run(folder / "third", steps=2)
    (run / "stages/test/result.json").unlink()
    (run / "stages/test/inputs.json").write_text("{}")
    ends = [
        event(3, "stage_finished", stage="rl"),
        event(3, "stage_started", stage="test", resumed=False),
        event(4, "run_finished", error=error),
    ]
    write_lines(run / "events.jsonl", ends)


def test_run_whose_stage_raised_has_failed_and_shows_the_error(folder: Path) -> None:
    failed(folder, "StageFailedError: stage 'test' raised KeyError: 'x'.")
    third = rows(folder)[-1]
    assert (third["status"], third["stage"]) == ("failed", "test")
    shown = CliRunner().invoke(cli, ["runs", str(folder)]).output
    assert "third: StageFailedError: stage 'test' raised KeyError: 'x'." in shown


def test_run_that_a_signal_stopped_has_not_failed(folder: Path) -> None:
    failed(folder, "RunInterruptedError: SIGTERM stopped stage 'test'.")
    assert rows(folder)[-1]["status"] == "stopped"


def test_folder_of_one_run_lists_this_run(folder: Path) -> None:
    assert [row["run"] for row in rows(folder / "first")] == ["first"]
