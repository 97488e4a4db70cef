"""The runs that are viewed, and the thread that keeps their indexes up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guerdon.errors import GuerdonError, UsageError
from guerdon.index import Growth, RunIndex, grow
from guerdon.report.reading import RunRecord, indexed_run, read_run
from guerdon.run.log import RunEvents
from guerdon.view.scored import check_scored, scored_record

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two looks at the runs' files."""


@dataclass
class ViewedRun:
    """One run, or a file of scored completions."""

    key: str
    """Its name in addresses."""
    folder: Path
    index: RunIndex
    growth: Growth | None = None
    """How much is indexed; ``None`` before the first look."""
    changes: int = 0
    """How often the index has grown."""

    def record(self) -> RunRecord:
        """Read the run's record, up to its current state."""
        return scored_record(self.folder) if self.folder.is_file() else indexed_run(self.index)

    @property
    def version(self) -> str:
        """Return a text that changes with the run."""
        results = list(self.folder.glob("stages/*/result.json"))
        return f"{self.changes}-{len(results)}"


def found_runs(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of runs: those given, and those in given folders that are not runs themselves.

    Files of scored completions are returned as they are.

    Raises:
        UsageError: A folder is not a run and holds none, or a file has no scores.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if folder.is_file():
            check_scored(folder)
            found[folder.resolve()] = None
            continue
        inside = (
            [folder]
            if (folder / "run.json").is_file()
            else sorted(p.parent for p in folder.glob("*/run.json"))
        )
        if not inside:
            what = "not a run, it has no run.json" if folder.is_dir() else "no such folder"
            raise UsageError(
                f"{folder}: {what}. Name the folder that 'guerdon run' printed, like runs/r1-zero-mini."
            )
        found |= dict.fromkeys(path.resolve() for path in inside)
    return list(found)


def viewed_runs(folders: Iterable[Path], cache: Path | None = None) -> dict[str, ViewedRun]:
    """Return the runs by their keys: the names of their folders or files, with a number if two have the same."""
    runs: dict[str, ViewedRun] = {}
    for folder in folders:
        if folder.is_dir():
            read_run(folder, RunEvents())
        name = folder.name.encode("utf-8", "replace").decode("utf-8") or "run"
        key, number = name, 2
        while key in runs:
            key, number = f"{name}-{number}", number + 1
        runs[key] = ViewedRun(key, folder, RunIndex(folder, cache))
    return runs


@dataclass
class Watcher:
    """A thread that grows the indexes of runs until it is stopped."""

    runs: Mapping[str, ViewedRun]
    _stopped: threading.Event = field(default_factory=threading.Event)
    _failed: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._watch, name="index", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end after its current batch."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            busy = [self._look(run) for run in self.runs.values() if not self._stopped.is_set()]
            self._stopped.wait(0.005 if any(busy) else EVERY_S)

    def _look(self, run: ViewedRun) -> bool:
        """Read a batch. Return whether there was anything."""
        try:
            growth = grow(run.index)
        except (GuerdonError, OSError) as error:
            if run.key not in self._failed:
                logger.warning("run %s cannot be indexed: %s", run.key, error)
                self._failed.add(run.key)
            return False
        self._failed.discard(run.key)
        run.growth = growth
        run.changes += growth.changed
        return growth.changed
