import io
from pathlib import Path

import pytest

from guerdon import StageResult
from guerdon.hookspecs import RunInfo
from guerdon_plugins.hooks.progress import Progress


def test_one_line_a_stage_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.stage_started("zero", resumed=True)
    for step in range(1, 100):
        progress.stage_progress(step, 100, {"reward": 0.5})
    progress.stage_finished("zero", 12.3)
    progress.stage_skipped("next", StageResult())
    progress.run_finished(RunInfo("x", Path(), {}, []))
    assert capsys.readouterr().err == "zero: goes on\nzero: finished in 12 s\nnext: already finished\n"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(
        "guerdon_plugins.hooks.progress.Console",
        lambda stderr: Console(file=screen, force_terminal=True, width=100),
    )
    progress = Progress()
    progress.stage_started("zero", resumed=False)
    progress.stage_progress(3, 10, {"reward": 0.5, "lr": 1.0})
    progress.stage_finished("zero", 1.0)
    assert "3/10" in screen.getvalue()
    assert "reward 0.500" in screen.getvalue()
