"""Time for which a job waits for a CPU that others have is nobody's fault; and no program can pretend to wait."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
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
from guerdon_sandbox.inside.counters import CpuTime
from guerdon_sandbox.inside.wire import Answer

SOME_WORK = 'import time\nwhile time.process_time() < 0.2: pass\nprint("done")'
CHAIN = "for i in $(seq 200); do /bin/true; done; echo done"
SOME_THREADS = """
import threading, time
def work():
    while time.process_time() < 0.2: sum(range(2000))
threads = [threading.Thread(target=work) for _ in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""
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
    "one that notices each sample and sleeps": """
import time
def wakes():
    return open("/proc/1/schedstat").read().split()[2]
while True:
    before = wakes()
    while wakes() == before: pass
    time.sleep(0.01)
""",
    "a parent that waits in the kernel for its child": """
import ctypes, time
libc = ctypes.CDLL(None)
if libc.vfork() == 0: time.sleep(99)
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
            Program(command=["bash", "-c", CHAIN], limits=limits),
            Program(source=SOME_THREADS, limits=limits),
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


def test_both_versions_of_cgroup_are_read(tmp_path: Path) -> None:
    assert CpuTime(str(tmp_path)).seconds() is None
    one = tmp_path / "cpuacct" / "cpuacct.usage"
    one.parent.mkdir()
    one.write_text("1500000000\n")
    assert CpuTime(str(tmp_path)).seconds() == pytest.approx(1.5)
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 5\nnr_periods 7\n")
    assert CpuTime(str(tmp_path)).seconds() == pytest.approx(2.5)


class FakeCpuTime(CpuTime):
    def __init__(self) -> None:
        self.now: float | None = 100.0

    def seconds(self) -> float | None:
        return self.now


def sampled(
    monkeypatch: pytest.MonkeyPatch,
    *samples: tuple[float, float, bool],
    cpus: float = 1.0,
    sample_s: float = 0.0,
) -> waiting.Waiting:
    """Samples at the end of each period: the clock, the box's CPU time so far, whether a thread is runnable."""
    now, runnable, own = [0.0], [False], [0.0]
    monkeypatch.setattr("guerdon_sandbox.inside.waiting.time.monotonic", lambda: now[0])
    monkeypatch.setattr("guerdon_sandbox.inside.waiting.time.thread_time", lambda: own[0])
    monkeypatch.setattr(waiting, "_random", lambda: 1.0)
    monkeypatch.setattr(waiting, "_processes", lambda: ["asleep", "observed", "asleep"])

    def is_runnable(process: str) -> bool:
        own[0] += sample_s / 3
        return process == "observed" and runnable[0]

    monkeypatch.setattr(waiting, "_is_runnable", is_runnable)
    cpu_time = FakeCpuTime()
    job = waiting.Waiting(0.0, cpus, cpu_time)
    for at_s, used_s, ready in samples:
        now[0], cpu_time.now, runnable[0] = at_s, 100.0 + used_s, ready
        assert job.sample() == at_s
    return job


def every_period(until_s: float, used: float, runnable: bool) -> list[tuple[float, float, bool]]:
    times = [number * waiting.PERIOD_S for number in range(1, round(until_s / waiting.PERIOD_S) + 1)]
    return [(at_s, at_s * used, runnable) for at_s in times]


@pytest.mark.parametrize(
    ("cpus", "used", "runnable", "waited"),
    [
        (1.0, 0.2, True, 2.4),
        (1.0, 0.0, True, 3.0),
        (1.0, 1.0, True, 0.0),  # it runs, or its threads wait for each other
        (0.5, 0.5, True, 0.0),  # it waits for its quota
        (2.0, 1.5, True, 0.0),  # two run
        (1.0, 0.0, False, 0.0),  # it sleeps
    ],
)
def test_only_what_others_took_is_waiting(
    cpus: float, used: float, runnable: bool, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sampled(monkeypatch, *every_period(3.0, used, runnable), cpus=cpus)
    assert job.seconds == pytest.approx(waited, abs=waiting.PERIOD_S)


def test_a_late_sample_counts_since_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampled(monkeypatch, (0.8, 0.1, True)).seconds == pytest.approx(0.7)
    assert sampled(monkeypatch, (0.8, 0.1, False)).seconds == 0.0


def test_a_frozen_box_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampled(monkeypatch, (5.0, 0.0, False)).seconds == pytest.approx(5.0)


def test_the_use_of_many_cpus_is_not_a_debt(monkeypatch: pytest.MonkeyPatch) -> None:
    parallel = every_period(2.0, 4.0, runnable=True)
    starved = [(2.0 + at_s, 8.0, True) for at_s, _, _ in every_period(2.0, 0.0, runnable=True)]
    job = sampled(monkeypatch, *parallel, *starved, cpus=4.0)
    assert job.seconds == pytest.approx(2.0, abs=0.1)


def test_a_quota_used_up_at_once_is_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four cores use up the quota of each 100 ms in 2 ms."""
    samples = [
        (at_s, 0.1 * (1 + (at_s - 0.001) // 0.1), True) for at_s, _, _ in every_period(10.0, 0.0, True)
    ]
    assert sampled(monkeypatch, *samples).seconds < 1.0


def test_the_cpu_time_of_samples_is_not_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample costs a fifth of the period; two of three processes are looked at."""
    costs = 0.3 * waiting.PERIOD_S
    job = sampled(monkeypatch, *every_period(3.0, 0.2, runnable=True), sample_s=costs)
    assert job.seconds == pytest.approx(3.0, abs=0.1)


def test_a_look_that_was_interrupted_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent is seen asleep, its child ends unseen, and the parent starts the next child."""
    looks = [["child 1 is a zombie", "parent sleeps"], ["child 2 runs", "parent sleeps"]]
    interruptions = iter([0, 1, 1])
    monkeypatch.setattr(waiting, "_interruptions", lambda: next(interruptions))
    monkeypatch.setattr(waiting, "_processes", lambda: looks.pop(0))
    monkeypatch.setattr(waiting, "_is_runnable", lambda process: process == "child 2 runs")
    assert waiting._is_any_runnable()


def test_a_box_that_sleeps_is_asleep_however_often_the_look_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "_interruptions", itertools.count().__next__)
    monkeypatch.setattr(waiting, "_processes", lambda: ["asleep"])
    monkeypatch.setattr(waiting, "_is_runnable", lambda process: False)
    assert not waiting._is_any_runnable()


def test_a_process_that_ends_while_it_is_observed_was_runnable() -> None:
    own = f"/proc/{os.getpid()}"
    assert waiting._is_runnable("/proc/0")
    sleeper = subprocess.Popen(["sleep", "99"])
    try:
        while (folder := f"/proc/{sleeper.pid}") and waiting._is_runnable(folder):
            pass
        processes = waiting._processes()
        assert folder in processes
        assert own not in processes
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_thread_is_seen_beside_a_leader_that_sleeps() -> None:
    code = "import threading\nthreading.Thread(target=lambda: sum(iter(int, 1))).start()"
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        while (
            not waiting._is_runnable(f"/proc/{child.pid}") or waiting._stat(f"/proc/{child.pid}")[0] == b"R"
        ):
            pass
    finally:
        child.kill()
        child.wait()


def test_without_the_cpu_time_of_the_box_only_a_frozen_one_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(waiting, "_is_runnable", lambda process: True)
    for ago_s in (0.0, 5.0):
        job = waiting.Waiting(time.monotonic() - ago_s, 1.0, CpuTime(str(tmp_path)))
        job.sample()
        assert job.seconds == pytest.approx(ago_s, abs=0.5)
