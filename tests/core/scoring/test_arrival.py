"""A verdict is kept as soon as it is there: judging that is killed does not pay for it twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("judge_process.py")
COUNT = 40
UNDER_WAY = 4
"""Calls whose verdicts may be on their way at the kill: of two workers, or of a few coroutines."""


def calls(folder: Path) -> list[str]:
    path = folder / "calls.txt"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("verifier", ["Noted", "NotedAsync"])
def test_batch_killed_in_its_middle_is_judged_from_there(tmp_path: Path, verifier: str) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), verifier]
    process = subprocess.Popen(command)
    while len(calls(tmp_path)) < COUNT // 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True)
    made = calls(tmp_path)
    assert set(made) == {str(number) for number in range(COUNT)}
    assert len(made) <= COUNT + UNDER_WAY
