"""Several processes of one launch run one manifest: here as threads that share a store."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import InfrastructureError, StageFailedError
from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import Ranks, execute
from guerdon.run.log import read_events

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


FAILING = """
import threading
from guerdon import StageResult

class Broken:
    distributed = True
    meeting = threading.Barrier(2)
    def run(self, context):
        if threading.current_thread().name == "rank {failing}":
            raise {error}
        self.meeting.wait(timeout=1)  # as a collective operation ends when the other process is gone
        return StageResult()

class Asks:
    asked = []
    distributed = True
    def preflight(self, rewards):
        Asks.asked.append((threading.current_thread().name, list(rewards)))
    def run(self, context):
        return StageResult(metrics={{"asked": sorted(Asks.asked)}})

def yes(completion):
    return 1.0
"""


def launch_of(folder: Path, module: str, stage: str) -> list[Any]:
    """Runs one stage by two processes, and gives what each returned or raised."""
    (folder / "m.py").write_text(module)
    (folder / "m.yaml").write_text(
        f"name: x\nstages: [{{id: a, use: './m.py:{stage}', init: none, rewards: [{{use: './m.py:yes'}}]}}]"
    )
    plan = plan_run(load_manifest(folder / "m.yaml"))
    store, outcomes = Store(), [None, None]

    def run(rank: int) -> None:
        try:
            outcomes[rank] = execute(plan, folder / "out", [], ranks=Ranks(rank, 2, store))  # type: ignore[call-overload]
        except Exception as error:
            outcomes[rank] = error  # type: ignore[call-overload]

    threads = [
        threading.Thread(target=run, args=(rank,), name=f"rank {rank}", daemon=True) for rank in (1, 0)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize(
    "error", ["ValueError('only here')", "KeyError('only here')", "SystemExit('only here')"]
)
def test_error_of_any_class_in_one_process_is_raised_in_all(tmp_path: Path, failing: int, error: str) -> None:
    first, second = launch_of(tmp_path, FAILING.format(failing=failing, error=error), "Broken")
    assert isinstance(first, StageFailedError)
    assert str(first) == str(second)
    assert "only here" in str(first)
    assert "only here" in str(read_events(tmp_path / "out/events.jsonl").error)


def test_following_process_calls_the_preflight_of_a_distributed_stage_with_the_rewards(
    tmp_path: Path,
) -> None:
    _, second = launch_of(tmp_path, FAILING.format(failing=9, error="None"), "Asks")
    assert second["a"].metrics == {"asked": [["rank 1", ["yes"]]]}


def test_process_that_waits_for_one_that_failed_raises_its_error() -> None:
    store = Store()
    first, second = Ranks(0, 2, store), Ranks(1, 2, store)
    store["guerdon: rank 0 knows that a process failed"] = ""
    second.fail(InfrastructureError("the disk of rank 1 is full"))
    with pytest.raises(InfrastructureError, match="the disk of rank 1 is full"):
        first.receive("rank 1 has left the run")


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


def test_exchange_gives_each_process_the_texts_of_all_in_order_again_and_again() -> None:
    store = Store()
    found: dict[int, list[list[str]]] = {}

    def run(rank: int) -> None:
        ranks = Ranks(rank, 3, store)
        found[rank] = [ranks.exchange("a", f"{turn} of {rank}") for turn in range(3)]

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    expected = [[f"{turn} of {rank}" for rank in range(3)] for turn in range(3)]
    assert found == dict.fromkeys(range(3), expected)
    assert Ranks().exchange("a", "alone") == ["alone"]


def test_exchange_raises_the_error_of_another_process() -> None:
    store = Store()
    failing = threading.Thread(
        target=Ranks(1, 2, store).fail, args=(StageFailedError("it broke"),), daemon=True
    )
    failing.start()
    with pytest.raises(StageFailedError, match="it broke"):
        Ranks(0, 2, store).exchange("a", "")
    failing.join(20)


COUNTED = """
from guerdon import StageResult

class Shared:
    distributed = True
    any_process_count = {any_count}
    def run(self, context):
        seen = context.launch.exchange(str(context.launch.rank))
        return StageResult(metrics={{"seen": seen, "count": context.launch.count}})

def yes(completion):
    return 1.0
"""


@pytest.mark.parametrize("any_count", [True, False])
def test_number_of_processes_is_an_input_unless_a_stage_says_that_any_will_do(
    tmp_path: Path, any_count: bool
) -> None:
    first, second = launch_of(tmp_path, COUNTED.format(any_count=any_count), "Shared")
    assert first == second
    assert first["a"].metrics == {"seen": ["0", "1"], "count": 2}
    inputs = json.loads((tmp_path / "out/stages/a/inputs.json").read_text())
    assert inputs.get("processes") == (None if any_count else 2)
