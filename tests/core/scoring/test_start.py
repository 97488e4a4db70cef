"""A worker imports what it needs only: runs, and tests, start hundreds of them."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["guerdon", "guerdon.scoring.worker"])
def test_start_imports_no_event_loop_and_no_validation(module: str) -> None:
    late = ("asyncio", "pydantic", "importlib.metadata")
    script = f"import sys, {module}; print([name for name in {late} if name in sys.modules])"
    # -S, because a .pth file of this environment may import anything.
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path}; {script}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
