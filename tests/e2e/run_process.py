"""Runs a manifest in forked processes, one after the other, which may kill themselves. Forking pays for imports once.

Called as `run_process.py MANIFEST`; for each line `FOLDER DIES_AT` of its input it runs the manifest in that folder
and prints the exit code. DIES_AT is `never` or `STAGE/STEP`.
"""

from __future__ import annotations

import multiprocessing
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
    plan_run(load_manifest(Path(sys.argv[1])))  # imports what the stages say their params by
    import trl.trainer.grpo_trainer
    import trl.trainer.reward_trainer  # noqa: F401

    for line in sys.stdin:
        folder, dies_at = line.split()
        child = multiprocessing.get_context("fork").Process(
            target=run, args=(Path(sys.argv[1]), Path(folder), dies_at)
        )
        child.start()
        child.join()
        sys.stdout.write(f"{child.exitcode}\n")
        sys.stdout.flush()
