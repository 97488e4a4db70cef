"""SIGTERM, SIGINT and SIGHUP stop a run so that it can be resumed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPython

from guerdon.errors import RunInterruptedError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute
from guerdon.run.log import read_events
from guerdon.run.signals import stopping_on_signals

FIXTURE = Path(__file__).parents[2] / "fixtures/run_plugins.py"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _default_handlers() -> Iterator[None]:
    """Signals as in a terminal: a shell starts a background job with SIGINT ignored, and nohup ignores SIGHUP."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(folder: Path, *stages: dict[str, Any]) -> dict[str, Any]:
    shutil.copy(FIXTURE, folder / "m.py")
    manifest = {"name": "x", "stages": [{"init": "none", **stage} for stage in stages]}
    (folder / "m.yaml").write_text(json.dumps(manifest))
    results = execute(plan_run(load_manifest(folder / "m.yaml")), folder / "out", [])
    return {stage_id: dict(result.metrics) for stage_id, result in results.items()}


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_in_a_stage_that_saves_checkpoints_stops_after_the_step(
    tmp_path: Path, number: signal.Signals
) -> None:
    stage = {"id": "a", "use": "./m.py:Counter", "params": {"signal_at": 2, "number": int(number)}}
    words = (
        f"{number.name} stopped stage 'a': a checkpoint of step 2 is saved. Run the same command to resume."
    )
    with pytest.raises(RunInterruptedError, match=words) as stopped:
        run(tmp_path, stage)
    assert stopped.value.exit_code == 128 + number
    assert read_events(tmp_path / "out/events.jsonl").error == f"RunInterruptedError: {words}"
    assert run(tmp_path, stage)["a"] == {"counted": 4, "from": 2}


def test_signal_in_a_stage_that_saves_none_stops_at_once_and_says_so(tmp_path: Path) -> None:
    stage = {"id": "a", "use": "./m.py:Abrupt"}
    with pytest.raises(RunInterruptedError, match="at once, without a new checkpoint"):
        run(tmp_path, stage)
    assert run(tmp_path, stage)["a"] == {"ok": 1}


def test_signal_at_the_last_step_finishes_the_stage_and_starts_no_other(tmp_path: Path) -> None:
    stage = {"id": "a", "use": "./m.py:Counter", "params": {"steps": 2, "signal_at": 3}}
    assert run(tmp_path, stage)["a"] == {"counted": 2, "from": 0}


def test_handlers_of_before_are_there_after_the_run() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stopping_on_signals():
        assert all(signal.getsignal(n) is not h for n, h in zip(SIGNALS, before, strict=True))
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_forked_process_neither_stops_the_run_nor_outlives_a_sigterm(
    number: signal.Signals, status: int
) -> None:
    fork = multiprocessing.get_context("fork")
    running = fork.Event()

    def work() -> None:
        running.set()  # before this, Python would drop the signal with those of its parent
        time.sleep(0.5)

    with stopping_on_signals() as stop, stop.deferred():
        worker = fork.Process(target=work)
        worker.start()
        assert worker.pid is not None
        assert running.wait(60)
        os.kill(worker.pid, number)
        worker.join()
    assert worker.exitcode == status
    assert not stop.requested


def test_second_signal_stops_at_once() -> None:
    with stopping_on_signals() as stop, stop.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_command_stopped_by_a_signal_prints_one_line_and_exits_with_128_and_its_number(
    warm_guerdon: WarmPython, tmp_path: Path, number: signal.Signals
) -> None:
    shutil.copy(FIXTURE, tmp_path / "m.py")
    params = {"steps": 100_000_000}
    stage = {"id": "a", "init": "none", "use": "./m.py:Counter", "params": params}
    (tmp_path / "m.yaml").write_text(json.dumps({"name": "x", "stages": [stage]}))
    process = warm_guerdon.start("-m", "guerdon", "run", "m.yaml", "-o", "out", cwd=tmp_path)
    while not (tmp_path / "out/stages/a" / "work" / "step").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    told = process.done(timeout=60).stderr
    assert process.returncode == 128 + number
    assert told.splitlines()[-1].startswith(
        f"RunInterruptedError: {number.name} stopped stage 'a': a checkpoint"
    )
    assert len(told.splitlines()) == 2  # the other one says that the stage starts
