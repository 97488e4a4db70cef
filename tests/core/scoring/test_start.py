"""A worker imports what it needs only: runs, and tests, start hundreds of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("asyncio", "pydantic", "importlib.metadata")


def imported(module: str) -> list[str]:
    """Those of ``LATE`` that a module imports."""
    script = f"import sys, {module}; print(*[name for name in {LATE} if name in sys.modules])"
    # -S, because a .pth file of this environment may import anything.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path}; {script}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("module", ["guerdon", "guerdon.scoring.worker"])
def test_start_imports_no_event_loop_and_no_validation(module: str) -> None:
    assert imported(module) == []


def test_start_of_the_fork_server_imports_what_its_forks_need() -> None:
    assert {"asyncio", "pydantic"} <= set(imported("guerdon.tools.fork_server"))
