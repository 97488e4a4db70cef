"""Time for which a job waits for a CPU that others have is nobody's fault; and no program can pretend to wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from guerdon_sandbox import (
    Call,
    Calls,
    Check,
    Job,
    Limit,
    Limits,
    Program,
    Sandbox,
    SandboxOverloadedError,
    SyncSandbox,
)
from guerdon_sandbox.box import Box
from guerdon_sandbox.engine import BoxOptions, Engine
from guerdon_sandbox.inside import waiting
from guerdon_sandbox.inside.wire import Answer

SOME_WORK = 'import time\nwhile time.process_time() < 0.2: pass\nprint("done")'
BUSY = "while True: pass"
SLEEP = "import time\ntime.sleep(99)"
LONG = Limits(cpu_s=60, wall_s=120.0)
SHORT = Limits(cpu_s=30, wall_s=1.0)

# Each would run for ever, and makes its threads stand ready without running, or look so.
PRETENDERS = {
    "sleep": SLEEP,
    "one loop": BUSY,
    "many loops": "import os\nfor _ in range(3): os.fork()\nwhile True: pass",
    "children that end": """
import os
while True:
    if os.fork() == 0:
        for _ in range(10**6): pass
        os._exit(0)
    os.wait()
""",
    "a low priority": """
import os
for number in range(12):
    if os.fork() == 0:
        os.nice(19 * (number % 2))
        break
while True: pass
""",
    "a crowd that wakes at one time and does little": """
import os, time
for _ in range(28):
    if os.fork() == 0: break
while True:
    time.sleep(0.02 - time.time() % 0.02)
    for _ in range(2000): pass
""",
    "a crowd that uses up the quota and sleeps": """
import os, time
for _ in range(28):
    if os.fork() == 0: break
while True:
    end = time.time() + 0.05
    while time.time() < end: pass
    time.sleep(0.5 - time.time() % 0.5)
""",
    "a stop": "import os, signal\nos.fork()\nos.kill(os.getpid(), signal.SIGSTOP)",
}


def on_one_cpu(work: Callable[[Box, Box], Coroutine[Any, Any, None]]) -> None:
    """Does something with a box that comes off badly beside another one on the same CPU: 1 part in 10 of it."""

    async def both() -> None:
        engine = Engine()
        victim, other = await asyncio.gather(*(Box.start(engine, BoxOptions()) for _ in range(2)))
        try:
            cpu = str(min(os.sched_getaffinity(0)))
            for box, shares in ((victim, 100), (other, 900)):
                await asyncio.to_thread(
                    engine.client.api.update_container, box.name, cpu_shares=shares, cpuset_cpus=cpu
                )
            await work(victim, other)
        finally:
            await asyncio.gather(victim.close(), other.close())

    asyncio.run(both())


async def run(box: Box, job: Job[Any], patience_s: float) -> tuple[Answer, list[bytes]]:
    request, blobs = job.request()
    return await box.run(request._replace(patience_s=patience_s), blobs)


@pytest.mark.docker
def test_waiting_does_not_count_for_the_wall_limit() -> None:
    async def work(victim: Box, other: Box) -> None:
        busy = asyncio.create_task(run(other, Program(source=BUSY, limits=LONG), patience_s=0.0))
        limits = Limits(wall_s=0.5)
        for job in (
            Program(source=SOME_WORK, limits=limits),
            Program(command=["sh", "-c", f"python3 -c '{SOME_WORK}'; true"], limits=limits),
        ):
            answer, blobs = await run(victim, job, patience_s=60.0)
            assert (answer.limit, blobs[0]) == (None, b"done\n")
            assert answer.wall_s > 2 * limits.wall_s
        busy.cancel()

    on_one_cpu(work)


@pytest.mark.docker
def test_a_job_that_waits_for_too_long_has_no_result() -> None:
    async def work(victim: Box, other: Box) -> None:
        busy = asyncio.create_task(run(other, Program(source=BUSY, limits=LONG), patience_s=0.0))
        jobs: list[Job[Any]] = [
            Program(source=BUSY, limits=SHORT),
            Calls(source=f"def f():\n    {BUSY}", calls=[Call("f")], limits=SHORT),
            Check(source=f"def f():\n    {BUSY}", tests=["assert f()"], names=["f"], limits=SHORT),
        ]
        for job in jobs:
            answer, _ = await run(victim, job, patience_s=1.0)
            assert answer.limit is Limit.STARVED
            assert answer.waited_s >= 1.0
            assert answer.dirty is None
        sleeper, _ = await run(victim, Program(source=SLEEP, limits=SHORT), patience_s=60.0)
        assert sleeper.limit is Limit.WALL
        busy.cancel()

    on_one_cpu(work)


@pytest.mark.docker
def test_the_pool_raises_the_error_and_keeps_the_box() -> None:
    async def work() -> tuple[bytes, int]:
        async with Sandbox(boxes=1, patience_s=0.0) as sandbox:  # without patience, any wait is too long
            with pytest.raises(SandboxOverloadedError, match=r"waited \d+ of \d+ s for a CPU.*lower boxes"):
                await sandbox.run(Program(source=SLEEP, limits=Limits(wall_s=0.2)))
            return (await sandbox.run(Program(source="print(1)"))).stdout, sandbox.boxes_started

    assert asyncio.run(work()) == (b"1\n", 1)


@pytest.fixture(scope="module")
def patient(docker_engine: None) -> Iterator[SyncSandbox]:
    """Even where ten others want the same CPU, an honest program has all of ``SHORT`` before the patience is over."""
    with SyncSandbox(Sandbox(boxes=1, patience_s=9.0)) as pool:
        yield pool


@pytest.mark.docker
@pytest.mark.parametrize("source", PRETENDERS.values(), ids=PRETENDERS)
def test_no_program_can_pretend(patient: SyncSandbox, source: str) -> None:
    assert patient.run(Program(source=source, limits=SHORT)).limit is Limit.WALL


@pytest.mark.docker
def test_a_program_cannot_choose_a_busy_cpu(one_box: SyncSandbox) -> None:
    result = one_box.run(Program(source="import os\nos.sched_setaffinity(0, {0})"))
    assert b"PermissionError" in result.stderr


def test_both_versions_of_cgroup_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two, one = tmp_path / "cpu.stat", tmp_path / "cpuacct.usage"
    monkeypatch.setattr(waiting, "_USED", ((str(two), "usage_usec ", 1e-6), (str(one), "", 1e-9)))
    assert waiting._used_s() is None
    one.write_text("1500000000\n")
    assert waiting._used_s() == pytest.approx(1.5)
    two.write_text("usage_usec 2500000\nuser_usec 5\nnr_periods 7\n")
    assert waiting._used_s() == pytest.approx(2.5)


def looks(
    monkeypatch: pytest.MonkeyPatch,
    used: list[float],
    *active: list[tuple[int, float, bool]],
    cpus: float = 1.0,
) -> waiting.Waiting:
    """Looks that show the box's CPU time, and of every thread the user, the active time and whether it is ready."""
    uses = iter((100.0, *(100.0 + seconds for seconds in used)))
    times = iter(range(99))
    monkeypatch.setattr(waiting, "_used_s", lambda: next(uses))
    monkeypatch.setattr(waiting, "_active_s", lambda thread: 0.0)
    job = waiting.Waiting(1, {7, 8}, cpus)
    for threads in active:
        now = float(next(times))
        seen = [
            (user, Path(str(number)), active_s, ready, now, now)
            for number, (user, active_s, ready) in enumerate(threads)
        ]
        monkeypatch.setattr(job, "_threads", lambda seen=seen: iter(seen))
        job.look()
    return job


@pytest.mark.parametrize(
    ("cpus", "used", "active", "waited"),
    [
        (1.0, 3.0, [(7, 9.0)], 6.0),
        (1.0, 9.0, [(7, 9.0), (7, 9.0), (7, 9.0)], 0.0),  # they wait for each other
        (0.5, 4.5, [(7, 9.0)], 0.0),  # it waits for its quota
        (2.0, 4.5, [(7, 4.5), (7, 4.5)], 0.0),
        (1.0, 1.0, [(7, 4.0), (8, 5.0)], 7.0),  # candidate and checker take turns
        (1.0, 1.0, [(0, 4.0), (7, 5.0)], 7.0),  # and so do the zygote and they
        (1.0, 0.1, [(7, 0.1)], 0.0),  # it sleeps
    ],
)
def test_only_what_others_took_is_waiting(
    cpus: float,
    used: float,
    active: list[tuple[int, float]],
    waited: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = [(user, seconds, True) for user, seconds in active]
    assert looks(monkeypatch, [used], threads, cpus=cpus).seconds == pytest.approx(waited)


def test_a_wait_that_is_not_over_counts_from_where_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = looks(monkeypatch, [0.1, 0.1, 0.2], *[[(7, 1.0, True)]] * 3)
    assert standing.standing
    assert standing.seconds == pytest.approx(1.0 - 0.1 + 2 - 0.1)
    runs = looks(monkeypatch, [1.0, 2.0], [(7, 1.0, True)], [(7, 2.0, True)])
    assert not runs.standing
    woke = looks(monkeypatch, [1.0, 1.0], [(7, 1.0, False)], [(7, 1.0, True)])
    assert not woke.standing


@pytest.mark.parametrize("hidden", ["_USED", "_active_s"])
def test_where_the_kernel_does_not_tell_nobody_waits(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(thread: str) -> float:
        raise FileNotFoundError(thread)

    monkeypatch.setattr(waiting, hidden, () if hidden == "_USED" else missing)
    job = waiting.Waiting(os.getpid(), {os.getuid()}, 1.0)
    job.look()
    assert (job.seconds, job.standing) == (0.0, False)
