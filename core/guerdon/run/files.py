"""Files that are never seen half-written, and a run folder that two runs never share."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guerdon.errors import InfrastructureError, UsageError


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is there whole or not at all, even after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, default=str)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror}. Mend that and run the same command again."
        ) from error


def read_json(path: Path) -> Any:
    """The JSON in a file; ``None`` if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(f"{path.parent} is a file, and guerdon needs a folder there. Remove it.") from None
    except ValueError as error:
        raise UsageError(
            f"{path} is not valid JSON ({error}). Delete it, or the folder, and run again."
        ) from None


STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO)
"""What the machine can fail with and a person can mend: the run stops, and goes on afterwards."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a run folder and hold it for this process.

    Raises:
        UsageError: Another process holds it.
        InfrastructureError: It cannot be made or written to.
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
        yield
