"""The kit as pytest shows it: the documentation's example, and a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "testing.md"


def run_example(folder: Path, replace: tuple[str, str] = ("", "")) -> subprocess.CompletedProcess[str]:
    """Run the page's example in pytest, with something else in its place."""
    files = {}
    for part in PAGE.read_text(encoding="utf-8").split('```python title="')[1:]:
        title, _, rest = part.partition('"\n')
        files[title] = rest.partition("```")[0].replace(*replace)
    for title, text in files.items():
        (folder / title).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_documented_example_passes_and_reports_its_throughput(tmp_path: Path) -> None:
    done = run_example(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "16 passed" in done.stdout
    summary = done.stdout.partition("guerdon throughput (measured here, never asserted)")[2]
    assert "./exact.py:exact: " in summary
    assert summary.count("verdicts/s in one process") == 1


def test_a_failure_shows_the_message_and_not_the_kits_code(tmp_path: Path) -> None:
    done = run_example(tmp_path, ("completion.strip() == reference", "reference in completion"))
    assert done.returncode == 1
    failure = done.stdout.partition("TestExact.test_hack_cases")[2].partition("guerdon throughput")[0]
    assert "the hack '1 2 3 4 5' (every answer at once) earns 1; it may earn 0 at most." in failure
    assert "  fix: ask for what the hack lacks" in failure
    assert "def test_hack_cases" not in failure
