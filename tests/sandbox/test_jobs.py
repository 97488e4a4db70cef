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


@pytest.mark.parametrize(
    ("processes", "cores", "boxes"),
    [("", 8, 8), ("1", 8, 8), ("8", 8, 1), ("3", 8, 2), ("16", 8, 1), ("0", 8, 8), ("many", 8, 8)],
)
def test_training_processes_share_an_engines_cores(
    processes: str, cores: int, boxes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr(Sandbox, "_prepare", lambda self, engine: cores)
    monkeypatch.setattr(Sandbox, "_serve", lambda self, engine: asyncio.sleep(0))

    async def slots(asked: int | None) -> int:
        async with Sandbox(boxes=asked) as sandbox:
            return len(sandbox._slots)

    assert asyncio.run(slots(None)) == boxes
    assert asyncio.run(slots(5)) == 5


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
