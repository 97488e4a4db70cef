"""Check the paths and texts that a job gives to processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePosixPath

from guerdon_sandbox.errors import SandboxUsageError

_LONGEST_NAME = 255
_LONGEST_PATH = 1024


def check_path(path: str) -> None:
    """Refuse a path that is not inside the work folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise SandboxUsageError(
            f"path {path!r} is not inside the work folder; give a relative path without '..'"
        )
    check_text(path)
    if len(os.fsencode(path)) > _LONGEST_PATH or any(
        len(os.fsencode(part)) > _LONGEST_NAME for part in parts
    ):
        raise SandboxUsageError(
            f"path {path[:40]!r}… is too long; a name may have {_LONGEST_NAME} bytes, a path {_LONGEST_PATH}"
        )


def check_tree(paths: Iterable[str]) -> None:
    """Refuse files whose paths conflict."""
    files = [PurePosixPath(path) for path in paths]
    taken = set(files)
    if len(taken) < len(files):
        raise SandboxUsageError("two of the files have the same path; give each its own")
    for file in files:
        for folder in file.parents:
            if folder in taken:
                raise SandboxUsageError(
                    f"file {str(folder)!r} would be the folder of {str(file)!r}; rename one"
                )


def check_text(text: str) -> None:
    """Refuse a text that cannot be passed to a process."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise SandboxUsageError(
            f"text {text[:40]!r} cannot be encoded for a process; remove its surrogates"
        ) from None
    if "\0" in text:
        raise SandboxUsageError(f"text {text[:40]!r} holds a NUL, which no process can be given; remove it")
