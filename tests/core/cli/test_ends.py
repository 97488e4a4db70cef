"""How commands end when they are stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW = """
import time
from pathlib import Path

def slow(completion):
    Path("started").touch()
    time.sleep(60)
    return 1.0
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_command_leaves_no_unfinished_file(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "p.py").write_text(SLOW)
    (tmp_path / "rows.jsonl").write_text('{"completion": "a"}\n')
    command = [
        sys.executable,
        "-m",
        "guerdon",
        "score",
        "rows.jsonl",
        "--use",
        "./p.py:slow",
        "-o",
        "out.jsonl",
    ]
    scoring = subprocess.Popen(
        command,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # nohup and a shell's background ignore some signals, and processes inherit that.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        scoring.send_signal(number)
        _, err = scoring.communicate(timeout=60)
    finally:
        scoring.kill()
    assert scoring.returncode == 128 + number
    said = "Interrupted." if number == signal.SIGINT else f"Stopped by {number.name}."
    assert err.strip().splitlines() == [said]
    assert sorted(file.name for file in tmp_path.iterdir() if "out" in file.name) == []
