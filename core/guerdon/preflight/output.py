"""Check the folder that a run will write to."""

from __future__ import annotations

from pathlib import Path

from guerdon.errors import UsageError

_OF_A_RUN = ("run.json", "stages", "lock")


def check_run_folder(folder: Path) -> None:
    """Check that a folder is new, empty, or a run's.

    Raises:
        UsageError: It holds other files, which the run's files would be mixed with.
    """
    if not folder.is_dir() or any((folder / name).exists() for name in _OF_A_RUN):
        return
    held = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if held:
        raise UsageError(
            f"the folder {folder} is not a run's, and holds {', '.join(held[:3])}{'…' if len(held) > 3 else ''}. "
            "Name a new folder with -o."
        )
