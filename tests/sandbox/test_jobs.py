"""Jobs that cannot be right are refused before they reach a box; results say how jobs ended."""

from __future__ import annotations

import asyncio
import pickle
import signal
from typing import Any

import pytest

from guerdon_sandbox import (
    Calls,
    Check,
    Job,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailableError,
    SandboxUsageError,
    SyncSandbox,
)
from guerdon_sandbox.codec import dumps
from guerdon_sandbox.inside.wire import Answer


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_paths_outside_of_the_work_folder_are_refused(path: str) -> None:
    with pytest.raises(SandboxUsageError, match="work folder"):
        Program(files={path: b""})
    with pytest.raises(SandboxUsageError, match="work folder"):
        Program(collect=[path])


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "limits",
    [
        {"cpu_s": 0},
        {"wall_s": -1.0},
        {"processes": 0},
        {"cpu_s": 0.5},
        {"cpu_s": True},
        {"memory_bytes": 1e9},
        {"wall_s": NAN},
        {"wall_s": INFINITY},
        {"stdout_bytes": "1"},
    ],
)
def test_limits_are_positive(limits: dict[str, float]) -> None:
    with pytest.raises(SandboxUsageError, match=next(iter(limits))):
        Limits(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "files",
    [
        {"a" * 256: b""},
        {"ä" * 128: b""},
        {"/".join(["a" * 200] * 6): b""},
        {"a": b"", "a/b": b""},
        {"a/b/c": b"", "a/b": b""},
        {"a": b"", "./a": b""},
        {"a\0b": b""},
        {"\ud800": b""},
        {".": b""},
    ],
)
def test_files_that_cannot_be_written_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(SandboxUsageError):
        Program(files=files)


@pytest.mark.parametrize(
    "options",
    [
        {"argv": ["a\0"]},
        {"command": ["\ud800"]},
        {"env": {"A=B": ""}},
        {"env": {"": ""}},
        {"env": {"A": "\0"}},
    ],
)
def test_texts_that_no_process_can_be_given_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SandboxUsageError):
        Program(**options)


@pytest.mark.parametrize(
    ("job", "what"),
    [
        (Program(stdin=bytes(200 << 20)), "inputs"),
        (Program(files={"a": bytes(70 << 20)}), "files"),
        (Program(files={f"{number}/a": b"" for number in range(2000)}), "files and folders"),
        (Program(limits=Limits(stdout_bytes=1 << 30)), "output limits"),
        (Calls(source="x" * (200 << 20), calls=[]), "inputs"),
    ],
)
def test_job_that_fits_into_no_box_is_refused_before_it_is_sent(job: Job[Any], what: str) -> None:
    with pytest.raises(SandboxUsageError, match=what):
        asyncio.run(Sandbox(["unix:///nowhere"]).run(job))


@pytest.mark.parametrize("number", range(1, 65))
def test_ending_names_every_signal(number: int) -> None:
    job = Program()
    answer = Answer.killed(None, job.request()[0])._replace(status=number)
    ending = job.result(answer, [b"", b""], "engine").ending
    assert ending == "cpu limit" if number == signal.SIGXCPU else ending.startswith("killed by ")


def test_check_that_passes_is_ok() -> None:
    job = Check(source="", tests=["pass"], names=[])
    answer = Answer.killed(None, job.request()[0])._replace(status=0)
    frame = dumps([True, ""])
    passed = job.result(answer, [b"", b"", len(frame).to_bytes(4, "big") + frame], "engine")
    frame = dumps([False, "why"])
    failed = job.result(answer, [b"", b"", len(frame).to_bytes(4, "big") + frame], "engine")
    assert (passed.ok, failed.ok) == (True, False)


def test_options_are_checked() -> None:
    with pytest.raises(SandboxUsageError, match="boxes is 0"):
        Sandbox(boxes=0)
    with pytest.raises(SandboxUsageError, match="fork, container"):
        Sandbox(isolation="jail")


@pytest.mark.parametrize(
    ("processes", "cores", "boxes"),
    [("", 8, 9), ("1", 8, 9), ("8", 8, 2), ("3", 8, 3), ("16", 8, 2), ("0", 8, 9), ("many", 8, 9)],
)
def test_training_processes_share_an_engines_cores_and_have_one_box_more(
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
