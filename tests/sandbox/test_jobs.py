"""Jobs that cannot be right are refused before they reach a box; results say how jobs ended."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from guerdon_sandbox import Limits, Program, Sandbox, SandboxUnavailableError, SandboxUsageError, SyncSandbox


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_paths_outside_of_the_work_folder_are_refused(path: str) -> None:
    with pytest.raises(SandboxUsageError, match="work folder"):
        Program(files={path: b""})
    with pytest.raises(SandboxUsageError, match="work folder"):
        Program(collect=[path])


@pytest.mark.parametrize("limits", [{"cpu_s": 0}, {"wall_s": -1.0}, {"processes": 0}])
def test_limits_are_positive(limits: dict[str, float]) -> None:
    with pytest.raises(SandboxUsageError, match=next(iter(limits))):
        Limits(**limits)  # type: ignore[arg-type]


def test_options_are_checked() -> None:
    with pytest.raises(SandboxUsageError, match="boxes is 0"):
        Sandbox(boxes=0)
    with pytest.raises(SandboxUsageError, match="fork, container"):
        Sandbox(isolation="jail")


def test_no_engine_is_one_error_with_the_fix() -> None:
    sandbox = Sandbox(["unix:///nowhere/docker.sock"])
    with pytest.raises(SandboxUnavailableError, match=r"nowhere.*guerdon sandbox doctor"):
        asyncio.run(sandbox.run(Program(source="")))
    with (
        pytest.raises(SandboxUnavailableError, match=r"127\.0\.0\.1:1"),
        SyncSandbox(Sandbox(["tcp://127.0.0.1:1"])),
    ):
        pass


def test_errors_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(SandboxUnavailableError("down")))
    assert isinstance(error, OSError)
    assert str(error) == "down"
