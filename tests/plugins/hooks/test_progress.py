from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from guerdon.hookspecs import Alarm, RunInfo
from guerdon_plugins.hooks import progress as module
from guerdon_plugins.hooks.progress import Progress

METRICS = {
    "reward": 0.5,
    "loss": 0.1,
    "completions/mean_length": 52.25,
    "rewards/math/mean": 0.25,
    "rewards/format/mean": 0.75,
    "rewards/math/failure_rate": 0.125,
}


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_progress_without_a_terminal_writes_a_line_every_so_often(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    progress = Progress()
    progress.stage_started("zero", resumed=False)
    progress.stage_progress(0, 100, {})
    for step in range(1, 101):
        clock.now += 1.5
        progress.stage_progress(step, 100, METRICS)
    progress.stage_finished("zero", 150.2)
    progress.stage_skipped("next")
    progress.run_finished(RunInfo("x", Path(), {}, []))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "zero: starts"
    assert lines[1] == (
        "zero: step 20/100, elapsed 0:30, left 2:00, reward 0.5, length 52.2, failed 12%, math 0.25, format 0.75"
    )
    assert len(lines) == 1 + 5 + 2
    assert lines[-2:] == ["zero: finished in 2:30", "next: already finished"]


def test_progress_of_a_resumed_stage_counts_time_from_where_it_resumed(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    progress = Progress()
    progress.stage_started("zero", resumed=True)
    progress.stage_progress(50, 100, {})
    clock.now += 100
    progress.stage_progress(60, 100, {})
    assert capsys.readouterr().err.splitlines() == [
        "zero: resumes",
        "zero: step 60/100, elapsed 1:40, left 6:40",
    ]


def test_progress_estimates_the_time_left_from_the_steps_and_not_from_what_came_before(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    progress = Progress()
    progress.stage_started("base", resumed=False)
    clock.now += 100  # the data is prepared
    progress.stage_progress(10, 60, {"loss": 1.0})
    clock.now += 40
    progress.stage_progress(50, 60, {"loss": 1.0})
    assert capsys.readouterr().err.splitlines() == [
        "base: starts",
        "base: step 10/60, elapsed 1:40",
        "base: step 50/60, elapsed 2:20, left 0:10",
    ]


def test_progress_on_a_terminal_labels_its_times_and_shows_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        module, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=120)
    )
    progress = Progress()
    progress.stage_started("zero", resumed=False)
    progress.stage_progress(3, 10, METRICS)
    progress.stage_finished("zero", 1.0)
    shown = screen.getvalue()
    for part in ("3/10", "elapsed 0:00", "reward 0.5", "math 0.25", "failed 12%"):
        assert part in shown
    assert "loss" not in shown


def test_progress_prints_an_alarm_at_once(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    progress = Progress()
    progress.stage_started("rl", resumed=False)
    progress.alarm_raised(
        "rl", Alarm("entropy", "entropy", 50, 0.4, 0.1, "the entropy falls from 0.4 to 0.1.")
    )
    assert capsys.readouterr().err.splitlines() == [
        "rl: starts",
        "alarm: rl, step 50: the entropy falls from 0.4 to 0.1.",
    ]
