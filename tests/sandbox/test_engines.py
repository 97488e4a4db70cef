"""Several engines behind one pool; engines that die, restart, or run out of disk while jobs are under way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon_sandbox import Program, Sandbox
from guerdon_sandbox.engine import PYTHON_IMAGE, Engine

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a second engine needs root"),
]


class SecondEngine:
    """A dockerd of its own, on a small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.disk = folder / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200m", "tmpfs", str(self.disk)], check=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "docker.pid").unlink(missing_ok=True)
        flags = {
            "data-root": self.disk / "data",
            "exec-root": self.folder / "exec",
            "pidfile": self.folder / "docker.pid",
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # In a network namespace of its own: it would take the first engine's bridge away otherwise.
                ["unshare", "--net", "dockerd", "-H", self.address, "--iptables=false", "--bridge=none"]
                + [f"--{name}={value}" for name, value in flags.items()],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "-H", self.address, "version"], capture_output=True).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()

    def close(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self.end(signal.SIGTERM)
        # A dockerd that was killed leaves the containerd that it started.
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.folder / "exec/containerd/containerd.pid").read_text()), signal.SIGKILL)
        time.sleep(0.5)
        subprocess.run(["umount", "--lazy", str(self.disk)], check=True)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondEngine]:
    engine = SecondEngine(tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        image = Engine().client.images.get(PYTHON_IMAGE).save(named=PYTHON_IMAGE)
        Engine(engine.address).client.images.load(b"".join(image))
        yield engine
    finally:
        engine.close()


def jobs(count: int) -> list[Program]:
    source = "import time; time.sleep(0.02); print(input())"
    return [Program(source=source, stdin=str(number).encode()) for number in range(count)]


def test_an_engine_that_is_killed_costs_no_job(second: SecondEngine) -> None:
    async def work() -> tuple[list[bytes], set[str]]:
        async with Sandbox([Engine().address, second.address], boxes=2) as sandbox:
            while (await sandbox.run(Program(source=""))).engine != second.address:
                pass
            running = [asyncio.create_task(sandbox.run(job)) for job in jobs(300)]
            while not any(one.done() and one.result().engine == second.address for one in running):
                await asyncio.wait([one for one in running if not one.done()], timeout=0.1)
            await asyncio.to_thread(second.end, signal.SIGKILL)
            results = await asyncio.gather(*running)
            return [result.stdout for result in results], {result.engine for result in results}

    try:
        outputs, engines = asyncio.run(work())
    finally:
        second.start()
    assert outputs == [f"{number}\n".encode() for number in range(300)]
    assert len(engines) == 2


def test_a_restart_of_the_only_engine_costs_no_job(second: SecondEngine) -> None:
    async def work() -> list[bytes]:
        async with Sandbox([second.address], boxes=2) as sandbox:
            running = asyncio.gather(*map(sandbox.run, jobs(150)))
            await asyncio.sleep(1.5)
            await asyncio.to_thread(second.end, signal.SIGTERM)
            await asyncio.to_thread(second.start)
            return [result.stdout for result in await running]

    assert asyncio.run(work()) == [f"{number}\n".encode() for number in range(150)]
    assert Engine(second.address).boxes() == []


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """The disk is full, and what becomes free on it is filled up again."""
    stop = threading.Event()
    filler = disk / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not stop.is_set():
                try:
                    file.write(bytes(1 << 20))
                except OSError:
                    stop.wait(0.001)

    thread = threading.Thread(target=fill)
    thread.start()
    while os.statvfs(disk).f_bavail:
        time.sleep(0.01)
    try:
        yield
    finally:
        stop.set()
        thread.join()
        filler.unlink()


def test_a_full_disk_costs_no_job(second: SecondEngine) -> None:
    """Running boxes need no disk; boxes that are lost meanwhile come back when there is room again."""

    async def work() -> list[bytes]:
        async with Sandbox([second.address], boxes=2) as sandbox:
            await sandbox.run(Program(source=""))
            with full(second.disk):
                before = [result.stdout for result in await asyncio.gather(*map(sandbox.run, jobs(20)))]
                engine = Engine(second.address)
                for box in engine.boxes():
                    await asyncio.to_thread(engine.remove, box["Id"])
                running = asyncio.gather(*map(sandbox.run, jobs(20)))
                await asyncio.sleep(2)
                assert not running.done()
            return before + [result.stdout for result in await running]

    expected = [f"{number}\n".encode() for number in range(20)]
    assert asyncio.run(work()) == expected + expected
