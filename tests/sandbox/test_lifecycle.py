"""A sandbox opens and closes in any order and any loop: it works, or says at once why not."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon_sandbox import (
    BoxOptions,
    Limits,
    Program,
    Sandbox,
    SandboxImageError,
    SandboxUnavailableError,
    SandboxUsageError,
    SyncSandbox,
)
from guerdon_sandbox.engine import LABEL, PYTHON_IMAGE, Engine, this_process

ONE = Program(source="print(1)")


@pytest.fixture
def silent_engine(tmp_path: Path) -> Iterator[str]:
    """An engine that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen(16)
        yield f"unix://{tmp_path}/silent.sock"


def test_sync_sandbox_that_was_closed_says_so() -> None:
    pool = SyncSandbox()
    pool.close()
    pool.close()
    with pytest.raises(SandboxUnavailableError, match="closed"):
        pool.run(ONE)


@pytest.mark.docker
def test_sync_sandbox_without_with_opens_itself() -> None:
    pool = SyncSandbox(Sandbox(boxes=1))
    try:
        assert pool.run(ONE).stdout == b"1\n"
        assert [result.stdout for result in pool.map([ONE] * 3)] == [b"1\n"] * 3
    finally:
        pool.close()


@pytest.mark.docker
@pytest.mark.parametrize("closes", [True, False])
def test_sandbox_works_in_two_loops_one_after_the_other(closes: bool) -> None:
    sandbox = Sandbox(boxes=1)

    async def work() -> bytes:
        result = await sandbox.run(ONE)
        if closes:
            await sandbox.aclose()
        return result.stdout

    assert [asyncio.run(work()), asyncio.run(work())] == [b"1\n", b"1\n"]


@pytest.mark.docker
def test_sandbox_in_two_loops_at_once_is_refused() -> None:
    async def work() -> None:
        async with Sandbox(boxes=1) as sandbox:
            with pytest.raises(SandboxUsageError, match="another event loop"):
                await asyncio.to_thread(lambda: asyncio.run(sandbox.run(ONE)))
            assert (await sandbox.run(ONE)).ok

    asyncio.run(work())


@pytest.mark.docker
def test_close_during_open_leaves_nothing() -> None:
    async def work() -> None:
        sandbox = Sandbox(boxes=2)
        opening = asyncio.create_task(sandbox.open())
        running = asyncio.create_task(sandbox.run(ONE))
        await asyncio.sleep(0.01)
        await sandbox.aclose()
        for task in (opening, running):
            with pytest.raises(SandboxUnavailableError, match="closed"):
                await task
        await asyncio.sleep(1)
        assert sandbox.boxes_started == 0
        assert not sandbox._slots

    asyncio.run(work())


@pytest.mark.docker
def test_silent_engine_beside_a_good_one_holds_nothing_up(silent_engine: str) -> None:
    async def work() -> bytes:
        async with Sandbox([silent_engine, Engine().address], boxes=1) as sandbox:
            result = await sandbox.run(ONE)
            assert silent_engine not in sandbox._down, "the first result waited for the silent engine"
            return result.stdout

    assert asyncio.run(work()) == b"1\n"


def test_silent_engine_alone_is_an_error(silent_engine: str) -> None:
    with pytest.raises(SandboxUnavailableError, match="not usable"):
        asyncio.run(Sandbox([silent_engine]).run(ONE))


@pytest.mark.docker
def test_image_that_is_removed_while_the_pool_is_up_is_an_image_error() -> None:
    engine = Engine()
    engine.client.images.get(PYTHON_IMAGE).tag("guerdon-test", "removed")

    async def work() -> None:
        async with Sandbox(options=BoxOptions(image="guerdon-test:removed"), boxes=1) as sandbox:
            await sandbox.run(ONE)
            await asyncio.to_thread(engine.client.images.remove, "guerdon-test:removed")
            for box in engine.boxes():
                if box["Labels"][LABEL] == this_process():
                    engine.remove(box["Id"])
            await sandbox.run(ONE)

    with pytest.raises(SandboxImageError, match="no image 'guerdon-test:removed'"):
        asyncio.run(work())


@pytest.mark.docker
def test_cancelled_job_frees_its_box() -> None:
    async def work() -> tuple[bool, int]:
        async with Sandbox(boxes=1) as sandbox:
            await sandbox.run(ONE)
            running = asyncio.create_task(
                sandbox.run(Program(source="while True: pass", limits=Limits(cpu_s=60, wall_s=120.0)))
            )
            await asyncio.sleep(0.5)
            running.cancel()
            return (await asyncio.wait_for(sandbox.run(ONE), 50)).ok, sandbox.boxes_started

    assert asyncio.run(work()) == (True, 1)


@pytest.mark.docker
def test_cancelled_jobs_at_any_moment_cost_no_other_job() -> None:
    async def work() -> int:
        async with Sandbox(boxes=1) as sandbox:
            for pause in range(60):
                running = asyncio.create_task(sandbox.run(ONE))
                await asyncio.sleep(pause * 0.0005)
                running.cancel()
                assert (await sandbox.run(ONE)).stdout == b"1\n"
            return sandbox.boxes_started

    assert asyncio.run(work()) == 1


@pytest.mark.docker
def test_frozen_box_does_not_use_up_the_wall_limit() -> None:
    async def work() -> bytes:
        async with Sandbox(boxes=1) as sandbox:
            await sandbox.run(ONE)
            (box,) = [one["Id"] for one in Engine().boxes() if one["Labels"][LABEL] == this_process()]
            source = "import time\ntime.sleep(1)\nprint('done')"
            running = asyncio.create_task(sandbox.run(Program(source=source, limits=Limits(wall_s=3.0))))
            await asyncio.sleep(0.3)
            api = Engine().client.api
            await asyncio.to_thread(api.pause, box)
            await asyncio.sleep(5)
            await asyncio.to_thread(api.unpause, box)
            return (await running).stdout

    assert asyncio.run(work()) == b"done\n"


@pytest.mark.docker
@pytest.mark.parametrize("moment", ["create", "start", "remove"])
def test_close_while_an_engine_works_waits_for_it_and_leaves_no_task_and_no_box(
    moment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A box of the pool is being made or replaced when the pool is closed, and its engine takes its time."""
    working, slow = threading.Event(), getattr(Engine, moment)

    def work(engine: Engine, *args: Any) -> Any:
        working.set()
        time.sleep(0.3)
        return slow(engine, *args)

    errors: list[str] = []

    def run() -> None:
        try:
            pool.run(ONE)
        except SandboxUnavailableError as error:
            errors.append(str(error))

    monkeypatch.setattr(Engine, moment, work)
    pool = SyncSandbox(Sandbox(boxes=1, isolation="container"))
    running = threading.Thread(target=run)
    running.start()
    assert working.wait(20)
    pool.close()
    running.join()
    gc.collect()
    assert errors in (["the sandbox was closed"], [])  # while the box is removed, its job has a result
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
    assert [box for box in Engine().boxes() if box["Labels"][LABEL] == this_process()] == []


@pytest.mark.docker
@pytest.mark.parametrize("closes", [True, False])
def test_loop_that_ends_while_an_engine_works_leaves_no_box(
    closes: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    create = Engine.create

    def work(engine: Engine, *args: Any) -> Any:
        time.sleep(0.3)
        return create(engine, *args)

    monkeypatch.setattr(Engine, "create", work)

    async def begin() -> None:
        sandbox = Sandbox(boxes=2)
        await sandbox.open()
        await asyncio.sleep(0.1)
        if closes:
            await sandbox.aclose()

    asyncio.run(begin())
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
    assert [box for box in Engine().boxes() if box["Labels"][LABEL] == this_process()] == []
