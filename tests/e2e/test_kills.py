"""Every stage, with the options that hold state, is stopped at random steps and ends as an unbroken run."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("kill_matrix.py")
CASES = list(runpy.run_path(str(SCRIPT))["CASES"])


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    done = subprocess.run([sys.executable, str(SCRIPT)], stdout=subprocess.PIPE, text=True, check=True)
    return {outcome["case"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_stopped_run_ends_as_an_unbroken_one(outcomes: dict[str, dict[str, Any]], case: str) -> None:
    outcome = outcomes[case]
    assert "error" not in outcome, outcome["error"]
    assert len(outcome["stops"]) == 2
    assert outcome["differences"] == []
