"""Several processes of one launch run one manifest: here as threads that share a store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import Ranks, execute

MODULE = """
import threading
from guerdon import StageResult

class Together:
    distributed = True
    meeting = threading.Barrier(2, timeout=20)
    def run(self, context):
        self.meeting.wait()
        context.progress(1, 1, {"seen": 1.0})
        (context.work / threading.current_thread().name).touch()
        if threading.current_thread().name == "rank 0":
            (context.output / "model").mkdir()
        return StageResult(context.output / "model")

def alone(context):
    assert threading.current_thread().name == "rank 0"
    return StageResult(metrics={"from": context.model.path})
"""

MANIFEST = """\
name: x
model: hub/base
stages:
  - {id: train, use: './m.py:Together'}
  - {id: judge, use: './m.py:alone', init: stage:train}
  - {id: more, use: './m.py:Together', init: stage:train}
"""


class Store(dict[str, str]):
    def set(self, key: str, value: str) -> None:
        self[key] = value

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key].encode()


class Bell:
    def __init__(self) -> None:
        self.rings: list[str] = []

    @hookimpl
    def stage_progress(self, stage_id: str) -> None:
        self.rings.append(stage_id)

    @hookimpl
    def stage_skipped(self, stage_id: str) -> None:
        self.rings.append(f"{stage_id} skipped")


def launch(folder: Path, bell: Bell) -> list[Any]:
    """Runs the manifest by two processes, and gives what each of them returned."""
    (folder / "m.py").write_text(MODULE)
    (folder / "m.yaml").write_text(MANIFEST)
    plan = plan_run(load_manifest(folder / "m.yaml"))
    store, results = Store(), [None, None]

    def run(rank: int) -> None:
        results[rank] = execute(plan, folder / "out", [bell], ranks=Ranks(rank, 2, store))  # type: ignore[call-overload]

    threads = [
        threading.Thread(target=run, args=(rank,), name=f"rank {rank}", daemon=True) for rank in (1, 0)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_all_train_and_the_first_does_the_rest(tmp_path: Path) -> None:
    bell = Bell()
    first, second = launch(tmp_path, bell)
    assert first == second
    assert list(first) == ["train", "judge", "more"]
    assert first["judge"].metrics["from"].endswith("stages/train/output/model")
    assert bell.rings == ["train", "more"]


def test_what_an_earlier_launch_finished_is_skipped_by_all(tmp_path: Path) -> None:
    launch(tmp_path, Bell())
    (tmp_path / "out/stages/more/result.json").unlink()
    bell = Bell()
    first, second = launch(tmp_path, bell)
    assert first == second
    assert bell.rings == ["train skipped", "judge skipped", "more"]
