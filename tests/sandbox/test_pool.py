"""The pool answers every job exactly once, whatever happens to its boxes, and leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest

from guerdon_sandbox import (
    BoxOptions,
    Check,
    Isolation,
    Limit,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailableError,
    SyncSandbox,
)
from guerdon_sandbox.box import Box, BoxLostError, command
from guerdon_sandbox.engine import LABEL, Engine, this_process
from guerdon_sandbox.inside.wire import Answer, Request
from guerdon_sandbox.selfcheck import HONEST, HONEST_OUTPUT, self_check

pytestmark = pytest.mark.docker


@pytest.fixture
def own_boxes() -> Callable[[], list[str]]:
    """Lists the boxes that this process has made since the test began."""

    def boxes() -> set[str]:
        return {box["Id"] for box in Engine().boxes() if box["Labels"][LABEL] == this_process()}

    before = boxes()
    return lambda: sorted(boxes() - before)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_attacks_achieve_nothing_and_leave_nothing() -> None:
    async def check() -> dict[str, str]:
        return {one.attack: one.problem async for one in self_check([], BoxOptions()) if one.problem}

    assert asyncio.run(check()) == {}


def test_jobs_get_their_own_results_and_share_boxes(own_boxes: Callable[[], list[str]]) -> None:
    async def work() -> tuple[list[bytes], int]:
        async with Sandbox(boxes=2) as sandbox:
            jobs = [Program(source="print(input())", stdin=str(number).encode()) for number in range(200)]
            results = await asyncio.gather(*map(sandbox.run, jobs))
            return [result.stdout for result in results], sandbox.boxes_started

    outputs, boxes = asyncio.run(work())
    assert outputs == [f"{number}\n".encode() for number in range(200)]
    assert boxes <= 2
    assert own_boxes() == []


def test_boxes_that_are_killed_cost_no_job(own_boxes: Callable[[], list[str]]) -> None:
    async def work() -> list[bytes]:
        async with Sandbox(boxes=2) as sandbox:
            source = "import time; time.sleep(0.05); print(input())"
            jobs = [Program(source=source, stdin=str(number).encode()) for number in range(60)]
            running = asyncio.gather(*map(sandbox.run, jobs))
            for _ in range(4):
                await asyncio.sleep(0.4)
                for box in own_boxes()[:1]:
                    with contextlib.suppress(Exception):
                        Engine().client.api.kill(box)
            return [result.stdout for result in await running]

    assert asyncio.run(work()) == [f"{number}\n".encode() for number in range(60)]
    assert own_boxes() == []


def test_a_box_that_was_killed_while_idle_is_replaced(own_boxes: Callable[[], list[str]]) -> None:
    async def work() -> list[bytes]:
        async with Sandbox(boxes=1) as sandbox:
            first = await sandbox.run(Program(source="print(1)"))
            (box,) = own_boxes()
            Engine().client.api.kill(box)
            return [first.stdout, (await sandbox.run(Program(source="print(2)"))).stdout]

    assert asyncio.run(work()) == [b"1\n", b"2\n"]


SLEEP = Program(source="import time; time.sleep(9)", limits=Limits(wall_s=5.0))


def test_job_that_ends_every_box_while_others_run_is_at_fault(
    one_box: SyncSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon_sandbox.box.GRACE_S", -64.5)  # less than this job's limit and the patience
    result = one_box.run(SLEEP)
    assert result.limit is Limit.BOX
    assert not result.ok
    monkeypatch.undo()
    assert one_box.run(Program(source="print(1)")).stdout == b"1\n"


def test_job_that_loses_every_box_as_all_others_do_has_no_result(
    one_box: SyncSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon_sandbox.box.GRACE_S", -1000.0)
    with pytest.raises(SandboxUnavailableError, match="lost 3 boxes"):
        one_box.run(SLEEP)


def test_engine_that_kills_boxes_now_and_then_is_at_fault(own_boxes: Callable[[], list[str]]) -> None:
    """Three boxes are lost under the job, each time while the job that does nothing would have run, too."""

    async def work() -> None:
        async with Sandbox(boxes=1) as sandbox:
            running = asyncio.ensure_future(sandbox.run(SLEEP))
            killed = 0
            while not running.done():
                await asyncio.sleep(0.1)
                if sandbox.boxes_started > killed:
                    # The trial lives as long as the job's first box, which is longer than its own box.
                    await asyncio.sleep(0.1 if killed else 3)
                    killed = sandbox.boxes_started
                    for box in own_boxes():
                        with contextlib.suppress(Exception):
                            await asyncio.to_thread(Engine().client.api.kill, box)
            await running

    with pytest.raises(SandboxUnavailableError, match="lost 3 boxes"):
        asyncio.run(work())


async def losses(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[Limit | str | None]:
    """Run programs of which "killer" loses each box, and "unlucky" one, after a killer's. Returns how each ended."""
    original, unlucky, third = Box.run, iter([True]), iter([False, False, True])
    killed, lost = asyncio.Event(), asyncio.Event()

    async def run(box: Box, request: Request, blobs: Sequence[bytes]) -> tuple[Answer, list[bytes]]:
        if b"unlucky" in blobs[0] and next(unlucky, False):
            await killed.wait()
            await asyncio.sleep(0.2)
            lost.set()
        elif b"killer" in blobs[0]:
            killed.set()
            if "unlucky" in names and next(third):  # the box of the other one may start late
                await lost.wait()
        else:
            return await original(box, request, blobs)
        await asyncio.sleep(0.2)
        raise BoxLostError("the box died")

    monkeypatch.setattr(Box, "run", run)

    async def end(sandbox: Sandbox, name: str) -> Limit | str | None:
        try:
            return (await sandbox.run(Program(source=f"# {name}"))).limit
        except SandboxUnavailableError:
            return "nothing is known"

    async with Sandbox(boxes=2) as sandbox:
        return list(await asyncio.gather(*(end(sandbox, name) for name in names)))


def test_programs_that_kill_their_boxes_are_at_fault_and_no_other_is(
    docker_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = asyncio.run(losses(monkeypatch, "killer", "honest", "killer", "honest"))
    assert ends == [Limit.BOX, None, Limit.BOX, None]


def test_boxes_lost_by_jobs_that_run_well_later_are_nobodys_fault(
    docker_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = asyncio.run(losses(monkeypatch, "killer", "unlucky", "honest"))
    assert ends == ["nothing is known", None, None]


def test_a_fresh_container_for_every_job() -> None:
    async def work() -> tuple[set[bytes], int]:
        async with Sandbox(boxes=2, isolation=Isolation.CONTAINER) as sandbox:
            jobs = [Program(source=HONEST) for _ in range(4)]
            results = await asyncio.gather(*map(sandbox.run, jobs))
            return {result.stdout for result in results}, sandbox.boxes_started

    outputs, boxes = asyncio.run(work())
    assert outputs == {HONEST_OUTPUT}
    assert boxes >= 4


OWNER = """
import asyncio
from guerdon_sandbox import Program, Sandbox
from guerdon_sandbox.engine import this_process
async def main():
    async with Sandbox(boxes=2) as sandbox:
        await sandbox.run(Program(source=""))
        print(this_process(), flush=True)
        await asyncio.gather(*[sandbox.run(Program(source="while True: pass")) for _ in range(2)])
asyncio.run(main())
"""


def test_kill_9_of_the_owner_leaves_no_box() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()

    def boxes() -> list[str]:
        return [box["Id"] for box in Engine().boxes() if box["Labels"][LABEL] == name]

    assert wait_until(lambda: len(boxes()) == 2)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert wait_until(lambda: boxes() == [])


def test_boxes_that_were_never_started_are_reaped_when_their_owner_is_gone() -> None:
    create = (
        "from guerdon_sandbox.engine import BoxOptions, Engine\nfrom guerdon_sandbox.box import command\n"
        "print(Engine().create(BoxOptions(), command()))"
    )
    orphan = subprocess.run(
        [sys.executable, "-c", create], capture_output=True, text=True, check=True
    ).stdout.strip()
    engine = Engine()
    mine = engine.create(BoxOptions(), command())
    try:
        assert engine.reap() >= 1
        left = {box["Id"] for box in engine.boxes()}
        assert orphan not in left
        assert mine in left
    finally:
        engine.remove(mine)


def test_jobs_under_way_when_the_pool_closes_are_refused(own_boxes: Callable[[], list[str]]) -> None:
    async def work() -> None:
        sandbox = Sandbox(boxes=1)
        jobs = [asyncio.ensure_future(sandbox.run(Program(source="while True: pass"))) for _ in range(3)]
        await asyncio.sleep(1.5)
        await sandbox.aclose()
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SandboxUnavailableError] * 3

    asyncio.run(work())
    assert own_boxes() == []


def test_a_pool_that_closes_while_its_boxes_are_made_leaves_none(own_boxes: Callable[[], list[str]]) -> None:
    async def work(pause_s: float) -> None:
        async with Sandbox(boxes=2):
            await asyncio.sleep(pause_s)

    for pause_s in (0.0, 0.02, 0.1, 0.3):
        asyncio.run(work(pause_s))
        assert own_boxes() == []


def test_a_caller_that_gives_up_does_not_hold_up_the_others() -> None:
    async def work() -> bytes:
        async with Sandbox(boxes=1) as sandbox:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sandbox.run(Program(source="import time; time.sleep(1)")), 0.5)
            return (await sandbox.run(Program(source="print(1)"))).stdout

    assert asyncio.run(work()) == b"1\n"


def test_the_uids_of_jobs_differ(one_box: SyncSandbox) -> None:
    uids = {
        one_box.run(Program(source="import os; print(os.getuid(), os.getgid())")).stdout for _ in range(5)
    }
    assert len(uids) == 5
    assert os.fsencode("0 0\n") not in uids


def test_mark_on_a_device_is_gone_for_the_next_job(one_box: SyncSandbox) -> None:
    read = "import os\nprint([os.stat(f'/dev/{name}').st_mtime_ns for name in ('null', 'zero', 'full')])"
    one_box.run(Program(source="import os\nfor name in ('null', 'zero', 'full'): os.utime(f'/dev/{name}')"))
    assert one_box.run(Program(source=read)).stdout == b"[0, 0, 0]\n"


def test_file_of_a_test_is_swept(one_box: SyncSandbox) -> None:
    tests = ["open('t', 'w').close(); assert f() == 1"]
    source = "import os\ndef f():\n    os.makedirs('c/d')\n    os.chmod('c', 0)\n    return 1"
    one_box.run(Program(source=""))
    before = one_box._sandbox.boxes_started
    for _ in range(3):
        result = one_box.run(Check(source=source, tests=tests, names=["f"]))
        assert [outcome.passed for outcome in result.outcomes] == [True]
        assert one_box.run(Program(source=HONEST)).stdout == HONEST_OUTPUT
    assert one_box._sandbox.boxes_started == before


def test_boxes_that_a_host_without_memory_takes_are_not_a_jobs_fault() -> None:
    """Trials survive beside the job, so only the host's own word keeps it from the limit ``box``."""

    async def work() -> None:
        async with Sandbox(boxes=1) as sandbox:
            run = Box.run

            async def run_or_lose(
                box: Box, request: Request, blobs: Sequence[bytes]
            ) -> tuple[Answer, list[bytes]]:
                if b"unlucky" in blobs[0]:
                    raise BoxLostError("the host is out of memory", host_fault=True)
                return await run(box, request, blobs)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Box, "run", run_or_lose)
                with pytest.raises(SandboxUnavailableError, match="lost 3 boxes"):
                    await sandbox.run(Program(source="print('unlucky')"))

    asyncio.run(work())
