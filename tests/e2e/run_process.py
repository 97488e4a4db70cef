"""Runs a manifest in a folder, in a process that may kill itself: ``run_process.py MANIFEST FOLDER DIES_AT``.

DIES_AT is `never` or `STAGE/STEP`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute


class Killer:
    def __init__(self, dies_at: str) -> None:
        self._dies_at = dies_at

    @hookimpl
    def stage_progress(self, stage_id: str, step: int) -> None:
        if f"{stage_id}/{step}" == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def run(manifest: Path, folder: Path, dies_at: str) -> None:
    execute(plan_run(load_manifest(manifest)), folder, [Killer(dies_at)])


if __name__ == "__main__":
    manifest, folder, dies_at = sys.argv[1:]
    run(Path(manifest), Path(folder), dies_at)
