"""Write files atomically, lock run folders, and detect full storage and services that do not answer."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from guerdon.errors import InfrastructureError, UsageError
from guerdon.files import replaced
from guerdon.plugins.boundary import describe


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: after a power cut it is complete or absent."""
    text = json.dumps(value, indent=2, default=str)
    with replaced(path, fix="Fix this and run the same command again.") as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the JSON in a file, or ``None`` if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(
            f"{path.parent} is not a folder, and guerdon needs one there. Choose another place."
        ) from None
    except ValueError as error:
        raise UsageError(
            f"{path} is not valid JSON ({error}). Delete it, or the folder, and run again."
        ) from None


STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO)
"""Storage errors that a person can fix. The run stops, and can be resumed."""

_FULL = re.compile(
    r"os error (28|122)\b|No space left on device|disk is full|Disk quota exceeded", re.IGNORECASE
)
"""Texts by which libraries that are not written in Python report a full disk."""

_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)

_PROBE_BYTES = 256 * 1024


def storage_problem(error: BaseException, folder: Path) -> str | None:
    """Return a description of the storage problem that caused an error, or ``None``.

    torch, safetensors and SQLite raise their own errors for a full disk. Some of these do not name the cause. It is
    then
    confirmed by a failing write to the run folder.
    """
    for cause, certain in _causes(error):
        telling = STORAGE_ERRORS if certain else _FULL_ERRORS
        if isinstance(cause, OSError) and cause.errno in telling:
            return str(cause)
        if _FULL.search(str(cause)):
            return str(cause)
    foreign = type(error).__module__.partition(".")[0] in (
        "safetensors",
        "safetensors_rust",
        "torch",
        "pyarrow",
    )
    if not foreign and not isinstance(error, RuntimeError | sqlite3.Error):
        return None
    return _probe(folder)


_NETWORK_ERRORS = (
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "socket.gaierror",
    "urllib.error.URLError",
    "httpx.HTTPError",
    "requests.exceptions.RequestException",
    "aiohttp.client_exceptions.ClientError",
    "huggingface_hub.errors.LocalTokenNotFoundError",
)
"""The classes of errors that say that a service was not reached, or refused. Most of them are not imported here."""


def network_problem(error: BaseException) -> str | None:
    """Return a description of the network error that caused an error, or ``None``."""
    for cause, certain in _causes(error):
        classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(cause).__mro__}
        if certain and not classes.isdisjoint(_NETWORK_ERRORS):
            return f"a service on the network did not answer, or refused: {describe(cause)}"
    return None


def _causes(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """Yield an error and its causes, each with whether it certainly is a cause.

    The context of an error is uncertain: a library may have tried a folder, and then another one.
    """
    cause: BaseException | None = error
    certain = True
    while cause is not None:
        yield cause, certain
        certain = certain and cause.__cause__ is not None
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _probe(folder: Path) -> str | None:
    path = folder / f".probe-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(b"\0" * _PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return str(error) if error.errno in STORAGE_ERRORS else None
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return None


_held: set[TextIO] = set()
"""The locks of this process. A forked process, such as a data loader's worker, may outlive it, and closes its
copies."""


def _close_inherited() -> None:
    for lock in _held:
        lock.close()
    _held.clear()


os.register_at_fork(after_in_child=_close_inherited)


_OF_A_RUN = ("run.json", "stages", "lock")
_OF_NOBODY = ("cache", "lost+found")
"""Folders that may be there before a run."""


def check_run_folder(directory: Path, name: str) -> None:
    """Check that a folder is new, empty, or that of the run with this name.

    Raises:
        UsageError: It holds other files or another run, which the run's files would be mixed with.
    """
    if not directory.is_dir():
        return
    if not any((directory / file).exists() for file in _OF_A_RUN):
        names = sorted(path.name for path in directory.iterdir())
        held = [name for name in names if not name.startswith(".") and name not in _OF_NOBODY]
        if held:
            some = ", ".join(held[:3]) + ("…" if len(held) > 3 else "")
            raise UsageError(
                f"the folder {directory} is not a run's, and holds {some}. Choose a new folder with -o."
            )
    record = read_json(directory / "run.json")
    other = record.get("name", name) if isinstance(record, dict) else name
    if other != name:
        raise UsageError(
            f"the folder {directory} holds the run '{other}', and this manifest has the name '{name}'. Choose another "
            f"folder with -o. If it is the same run with a new name, delete {directory / 'run.json'}: guerdon writes "
            "it again."
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Create a run folder and lock it for this process.

    Raises:
        UsageError: Another process holds it.
        InfrastructureError: It cannot be created or written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("a")
    except OSError as error:
        raise InfrastructureError(
            f"the run folder {directory} cannot be written to: {error.strerror}. Choose another with -o."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"the run folder {directory} is in use by another guerdon. Wait for it, or choose another with -o."
            ) from None
        _held.add(lock)
        try:
            yield
        finally:
            _held.discard(lock)
