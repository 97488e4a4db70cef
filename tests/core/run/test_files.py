from __future__ import annotations

import errno
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from guerdon.errors import UsageError
from guerdon.run.files import check_run_folder, locked, storage_problem


def test_locked_by_a_process_that_forked_is_free_once_it_ends(tmp_path: Path) -> None:
    """A data loader's worker lives on for seconds after a SIGKILL of its trainer."""
    read, write = os.pipe()
    holder = os.fork()
    if holder == 0:
        with locked(tmp_path):
            worker = os.fork()
            if worker == 0:
                os.write(write, f"{os.getpid()}\n".encode())
                signal.pause()
            signal.pause()
    worker = int(os.read(read, 20))
    try:
        with pytest.raises(UsageError, match="in use by another guerdon"), locked(tmp_path):
            pass
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with locked(tmp_path):
            os.kill(worker, 0)  # which lives
    finally:
        os.kill(worker, signal.SIGKILL)


def test_run_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is not a run's, and holds config\.json"):
        check_run_folder(tmp_path, "mine")


def test_run_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"name": "mine"}')
    check_run_folder(tmp_path, "mine")
    with pytest.raises(UsageError, match=r"holds the run 'mine', and this manifest has the name 'other'"):
        check_run_folder(tmp_path, "other")


@pytest.mark.parametrize(
    "held", [[], [".DS_Store"], ["lost+found"], ["cache"], ["stages", "tensorboard"], ["lock", "notes"]]
)
def test_run_folder_that_is_new_or_a_runs_is_accepted(tmp_path: Path, held: list[str]) -> None:
    for name in held:
        (tmp_path / name).mkdir()
    check_run_folder(tmp_path, "mine")
    check_run_folder(tmp_path / "new", "mine")


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        _caused(ValueError("tokenizer"), OSError(errno.ENOSPC, "No space left on device")),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_storage_problem_of_a_full_disk_names_it(tmp_path: Path, error: Exception) -> None:
    assert storage_problem(error, tmp_path) is not None


def test_storage_problem_of_torch_shows_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    assert storage_problem(error, tmp_path) is None

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("guerdon.run.files.os.fsync", full)
    assert "No space left" in str(storage_problem(error, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("x"), OSError(errno.ENOENT, "No such file")])
def test_storage_problem_of_other_errors_is_none(tmp_path: Path, error: Exception) -> None:
    assert storage_problem(error, tmp_path) is None


def test_storage_problem_of_an_error_that_was_handled_before_is_none(tmp_path: Path) -> None:
    error = ValueError("no such model")
    error.__context__ = PermissionError(errno.EACCES, "Permission denied")
    assert storage_problem(error, tmp_path) is None
    error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert storage_problem(error, tmp_path) is not None
