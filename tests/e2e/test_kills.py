"""Every stage, with the options that hold state, is stopped at random steps and ends as an unbroken run."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_cases import slow_but

SCRIPT = Path(__file__).with_name("kill_matrix.py")
CASES = list(runpy.run_path(str(SCRIPT))["CASES"])

Outcome = dict[str, Any]


@pytest.fixture(scope="module")
def outcome_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Outcome]]:
    """Waits for a case of those that are selected; one process tries them in turn, which pays for the imports once."""
    ours = [item for item in request.session.items if item.path == request.path]
    selected = [item.callspec.params["case"] for item in ours if isinstance(item, pytest.Function)]
    outcomes: dict[str, Outcome] = {}
    command = [sys.executable, str(SCRIPT), *map(str, selected)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as matrix:

        def wait(case: str) -> Outcome:
            assert matrix.stdout is not None
            while case not in outcomes:
                line = matrix.stdout.readline()
                assert line, f"kill_matrix.py ended before {case}"
                outcome = json.loads(line)
                outcomes[outcome["case"]] = outcome
            return outcomes[case]

        yield wait
        matrix.terminate()


@pytest.mark.parametrize("case", slow_but(("grpo", "sample", "sft"), CASES))
def test_stopped_run_ends_as_an_unbroken_one(outcome_of: Callable[[str], Outcome], case: str) -> None:
    outcome = outcome_of(case)
    assert "error" not in outcome, outcome["error"]
    assert len(outcome["stops"]) == 2
    assert outcome["differences"] == []
    assert (outcome["calls"] > 0) == ("environment" in case)
