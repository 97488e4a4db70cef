"""The settings of a session's container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from guerdon_sandbox.engine import BoxOptions
from guerdon_sandbox.errors import SandboxUsageError

__all__ = ["LOCKED", "SessionOptions"]

LOCKED = "/tests"
"""The folder of locked files, which no command can change."""


@dataclass(frozen=True, slots=True)
class SessionOptions(BoxOptions):
    """The settings and limits of a session's container."""

    folder: str = "/box"
    """Where commands start, and where relative paths are."""
    writable: Sequence[str] = ("/tmp",)
    """Further folders that commands may write, each of ``work_bytes``."""
    idle_s: float = 3600.0
    """Seconds without a request after which the container ends."""

    def __post_init__(self) -> None:
        """Check the folders.

        Raises:
            SandboxUsageError: A folder is not an absolute path below the root, or is the locked one.
        """
        for path in (self.folder, *self.writable):
            parts = PurePosixPath(path).parts
            if len(parts) < 2 or parts[0] != "/" or ".." in parts or path.rstrip("/") == LOCKED:
                raise SandboxUsageError(
                    f"folder {path!r} cannot be writable: give an absolute path other than / and {LOCKED}"
                )

    def folders(self) -> dict[str, str]:
        """Return the folders in memory, with their mount options."""
        return {
            **dict.fromkeys(("/box", self.folder, *self.writable), self._writable()),
            LOCKED: self._writable().replace("mode=1777", "mode=0755"),
        }

    @property
    def all_writable(self) -> tuple[str, ...]:
        """Return all folders that commands may write."""
        return tuple(dict.fromkeys(("/box", self.folder, *self.writable)))
