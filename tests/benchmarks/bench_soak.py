"""A soak: scoring through Ray and HTTP while workers, servers and a node die or stop, and the disk is full.

    python tests/benchmarks/bench_soak.py --minutes 60        # needs guerdon[ray,remote,serve]; `code`: Docker

Two paths score the same rows: workers on a real Ray cluster of two nodes, and two `guerdon serve` behind `remote`.
The right score of each row is known in advance and differs from row to row, so that a lost, doubled, shifted or falsely
zero verdict is found. Expected failures (a crash, a hang, an exception) must have their kind. A verdict that a fault
makes fail is counted; a wrong one ends the benchmark with exit status 1. The table has a row for each twelfth of the
time.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import click
import httpx
import psutil
import ray
from ray.cluster_utils import Cluster

from guerdon import Failure, Outcome, Rollout, Score
from guerdon.manifest.rubrics import plugin_entries, resolve_rubric
from guerdon.rubric import Rubric
from guerdon.scoring.cache import ScoreCache

VERIFIERS = '''
import asyncio, os, re, signal, time
from zlib import crc32

def value(name, completion):
    """Return a value that tells which entry judged which row."""
    return crc32(f"{name} {re.search('[0-9]+', completion)[0]}".encode()) / 2**32

def fast(completion):
    return value("fast", completion)

async def slow(completion):
    await asyncio.sleep(0.02 + 0.1 * value("wait", completion))
    return value("slow", completion)

def odd(completion, fault):
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        time.sleep(3600)
    if fault == "raise":
        raise KeyError("lost")
    return value("odd", completion)
'''
WEIGHTS = {"fast": 1.0, "slow": 2.0, "odd": 4.0, "code": 8.0}
FAULTS = {"crash": Failure.VERIFIER, "hang": Failure.TIMEOUT, "raise": Failure.VERIFIER}
FAULT_EVERY, PROGRAM_EVERY = 200, 12
"""One row of so many has an expected failure, or is a program for the sandbox."""

DISK_MIB = 64
HTTP_CACHED = 2000
"""Scores that the HTTP path caches: few, because the default grows by 0.35 MiB for 1,000 new rows, up to 70 MiB."""

STUCK_S = 900.0
"""Seconds after which a batch is stuck."""

MISSED = 3
"""How often a kind of fault may find no process before it has found one."""

NODE_ATTEMPTS = 3

REPORTS = 12
TOLERANCE = 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=120, help="rows in one batch")
    parser.add_argument("--cores", type=float, default=0.33, help="CPU cores to use on average, by pausing")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("guerdon").setLevel(logging.ERROR)  # a full disk warns each time
    with ExitStack() as stack:
        soak = Soak(stack, options)
        scoring = threading.Thread(target=soak.run)
        scoring.start()
        soak.chaos.run()  # in the main thread, because Ray sets signal handlers when a node starts
        scoring.join()
    if soak.wrong:
        sys.exit("\n".join(soak.wrong))


class Soak:
    """Scores batches on both paths, checks each verdict, and prints the table."""

    def __init__(self, stack: ExitStack, options: argparse.Namespace) -> None:
        self._options = options
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guerdon-soak-")))
        self._code = (
            shutil.which("docker") is not None
            and not subprocess.run(
                ["docker", "image", "inspect", "guerdon-sandbox:python"], capture_output=True
            ).returncode
        )
        write_rubric(self._folder, self._code)
        self._disk = stack.enter_context(small_disk(self._folder))
        self._cluster = stack.enter_context(ray_cluster())
        self._servers = [stack.enter_context(Server(self._folder)) for _ in range(2)]
        self.chaos = Chaos(self._cluster, self._servers, self._disk, options)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._next_row = 0
        self._cpu_before = cpu_seconds()

    def run(self) -> None:
        """Score until the time is over or a verdict is wrong. The chaos ends with it."""
        try:
            self._run()
        except Exception:
            self.wrong.append(traceback.format_exc())
        finally:
            self.chaos.may_start.set()
            self.chaos.stopping.set()

    def _run(self) -> None:
        started = time.monotonic()
        end = started + 60 * self._options.minutes
        click.echo(
            f"seed {self._options.seed}; sandbox: {self._code}; small disk: {self._disk is not None}\n"
        )
        click.echo(HEAD)
        kept = ScoreCache(max_scores=HTTP_CACHED)
        http = self._stack.enter_context(Rubric(remote_entries(self._servers), cache=kept))
        while time.monotonic() < end and not self.wrong:
            with self._ray_rubric() as on_ray:
                self._round(on_ray, http)  # workers start before the first fault
                self.chaos.may_start.set()
                part_end = min(end, time.monotonic() + 60 * self._options.minutes / REPORTS)
                while time.monotonic() < part_end and not self.wrong:
                    self._round(on_ray, http)
                    self._pause(started)
            self.wrong += self.chaos.wrong
            self.chaos.wrong.clear()
            click.echo(self._row((time.monotonic() - started) / 60))
            click.echo(memory_of_driver(), err=True)
        click.echo(
            f"\nfaults: {counted(self.chaos.done)}; without a process: {counted(self.chaos.missed) or 0}"
        )

    @contextmanager
    def _ray_rubric(self) -> Iterator[Rubric]:
        """Yield the rubric with a new cache, because a cache whose disk was full turns itself off."""
        path = None if self._disk is None else self._disk / f"scores-{self._next_row}.db"
        cache = ScoreCache(path)
        with Rubric(
            rubric_entries(self._folder), cache=cache, ray=self._cluster.address, workers=2
        ) as rubric:
            yield rubric
        cache.close()
        for file in self._disk.glob("scores-*") if self._disk else ():
            file.unlink()

    def _round(self, on_ray: Rubric, http: Rubric) -> None:
        numbers = range(self._next_row, self._next_row + self._options.rows)
        self._next_row = numbers.stop
        rows = [row(n, self._code) for n in numbers]
        answers: dict[str, Any] = {}
        threads = [
            threading.Thread(
                target=lambda name, rubric: answers.update({name: scored(rubric, rows)}), args=pair
            )
            for pair in (("Ray", on_ray), ("HTTP", http))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STUCK_S)
            if thread.is_alive():
                faulthandler.dump_traceback()
                os._exit(2)  # nothing else ends a thread that waits for ever
        for name, judgements in answers.items():
            if isinstance(judgements, str):
                self.wrong.append(f"{name}: {judgements}")
                continue
            if len(judgements) != len(numbers):
                self.wrong.append(f"{name}: {len(judgements)} judgements for {len(numbers)} rows")
            for n, judgement in zip(numbers, judgements, strict=False):
                verdicts = judgement.verdicts
                if name == "Ray":
                    self._check_ray(n, verdicts, judgement.reward)
                else:
                    self._check_http(n, verdicts["remote"].score)

    def _check_ray(self, n: int, verdicts: Mapping[str, Any], reward: float | None) -> None:
        expected = expected_scores(n, self._code)
        if {name for name, verdict in verdicts.items() if verdict.score is not None} != expected.keys():
            self.wrong.append(f"Ray, row {n}: verdicts of {', '.join(verdicts)}")
            return
        failed = False
        for name, wanted in expected.items():
            failed |= self._check(f"Ray {name}", n, wanted, verdicts[name].score)
        if not failed and (reward is None or abs(reward - weighted(expected)) > TOLERANCE):
            self.wrong.append(f"Ray, row {n}: the reward is {reward}, not {weighted(expected)}")

    def _check_http(self, n: int, score: Score) -> None:
        expected = expected_scores(n, self._code)
        failures = [wanted for wanted in expected.values() if isinstance(wanted, Failure)]
        wanted = failures[0] if failures else weighted(expected)
        self._check("HTTP", n, wanted, score)
        if not failures and score.outcome is not Outcome.FAILED:
            values = {name: value for name, value in score.metadata["scores"].items() if value is not None}
            if values != expected:
                self.wrong.append(f"HTTP, row {n}: the server's scores are {values}, not {expected}")

    def _check(self, path: str, n: int, wanted: float | Failure, score: Score) -> bool:
        """Count a verdict, and note a wrong one. Return whether it failed."""
        self.counts["verdicts"] += 1
        if score.outcome is Outcome.FAILED:
            if score.failure is wanted:
                self.counts["expected failures"] += 1
            else:
                self.counts[f"{path}: {score.failure}"] += 1
                click.echo(f"row {n}, {path}: {score.failure}: {score.explanation}", err=True)
            return True
        if isinstance(wanted, Failure) or score.value is None or abs(score.value - wanted) > TOLERANCE:
            self.wrong.append(f"{path}, row {n}: {score.outcome} {score.value}, not {wanted}")
        return False

    def _pause(self, started: float) -> None:
        """Wait until the average CPU use is what the options allow."""
        while cpu_seconds() - self._cpu_before > self._options.cores * (time.monotonic() - started) + 20:
            time.sleep(1)

    def _row(self, minutes: float) -> str:
        driver = psutil.Process()
        tree = [driver, *driver.children(recursive=True)]
        workers = [process for process in tree if "guerdon.scoring.worker" in command_of(process)]
        server = self._servers[0].tree()
        other = {name: count for name, count in self.counts.items() if ": " in name}
        cells = [
            f"{minutes:.1f}",
            f"{self.counts['verdicts']:,}",
            f"{sum(self.chaos.done.values())}",
            f"{mib(driver):.0f}",
            f"{driver.num_fds()}",
            f"{driver.num_threads()}",
            f"{mib(server[0]):.0f}",
            f"{server[0].num_fds()}",
            f"{len(tree)}",
            f"{len(workers)}",
            f"{sum(mib(worker) for worker in workers):.0f}",
            f"{(cpu_seconds() - self._cpu_before) / (60 * minutes):.2f}",
            f"{self.counts['expected failures']}",
            counted(other) or "0",
            f"{len(self.wrong)}",
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| minutes | verdicts | faults | driver: MiB | files | threads | server: MiB | files | processes | workers | "
    "workers: MiB | cores | expected failures | failures by a fault | wrong |\n|" + " --- |" * 15
)


@dataclass
class Chaos:
    """Does one fault after the other until it is stopped."""

    cluster: Cluster
    servers: Sequence[Server]
    disk: Path | None
    options: argparse.Namespace
    done: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    may_start: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self._node = self.cluster.list_all_nodes()[-1]  # type: ignore[no-untyped-call]
        self.may_start.wait()
        chance = random.Random(self.options.seed)
        faults: dict[str, Callable[[random.Random], None]] = {
            "worker killed": lambda chance: self._kill("guerdon.scoring.worker", chance),
            "worker stopped": lambda chance: self._freeze("guerdon.scoring.worker", chance),
            "actor killed": lambda chance: self._kill("ray::RemoteWorker", chance),
            "actor stopped": lambda chance: self._freeze("ray::RemoteWorker", chance),
            "server stopped": lambda chance: self._freeze_one(chance.choice(self.servers).tree()[0], 6),
            "server killed": self._restart_server,
            "node lost": self._replace_node,
        }
        if self.disk is not None:
            faults["disk full"] = self._fill
        turn: list[str] = []
        while not self.stopping.wait(self.options.every):
            turn = turn or chance.sample(sorted(faults), len(faults))  # each kind once in a turn
            name = turn.pop()
            try:
                faults[name](chance)
            except psutil.NoSuchProcess:
                self.missed[name] += 1  # it ended by itself, or a word no longer finds it
                if self.missed[name] > MISSED and not self.done[name]:
                    self.wrong.append(f"{name}: no process was found {MISSED} times")
                    return
                continue
            except Exception:
                self.wrong.append(f"{name}: {traceback.format_exc()}")
                return
            self.done[name] += 1

    def _kill(self, words: str, chance: random.Random) -> None:
        one_with(words, chance).kill()

    def _freeze(self, words: str, chance: random.Random) -> None:
        self._freeze_one(one_with(words, chance), 4)

    def _freeze_one(self, process: psutil.Process, seconds: float) -> None:
        process.suspend()
        self.stopping.wait(seconds)
        with suppress(psutil.NoSuchProcess):
            process.resume()

    def _restart_server(self, chance: random.Random) -> None:
        del chance  # the first server lives through the soak, so that its memory can be compared
        self.servers[1].kill()
        self.stopping.wait(3)
        self.servers[1].start()

    def _replace_node(self, chance: random.Random) -> None:
        del chance  # the first node lives through the soak
        self.cluster.remove_node(self._node, allow_graceful=False)
        self.stopping.wait(5)
        for attempt in range(NODE_ATTEMPTS):
            try:
                # Ray's handler would keep the node's object, with a thread, for ever.
                with patch("atexit.register"):
                    self._node = self.cluster.add_node(**NODE)
                return
            except Exception:  # Ray's, when a busy machine starts the node too late
                if attempt == NODE_ATTEMPTS - 1:
                    raise

    def _fill(self, chance: random.Random) -> None:
        """Fill the disk of the cache, score a file into it by the command, free it, and run the command again."""
        assert self.disk is not None
        rows = [{"completion": f"answer {n}", "fault": "none"} for n in range(200)]
        data = self.disk.parent / "rows.jsonl"
        data.write_text("".join(json.dumps(each) + "\n" for each in rows))
        output = self.disk / "out.jsonl"
        command = [sys.executable, "-m", "guerdon", "score", str(data), "--use", "./verifiers.py:fast"]
        command += ["-o", str(output), "--cache", str(self.disk / "command.db"), "--workers", "1"]
        ballast = self.disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096 if chance.random() < 0.01 else 65536))
        first = subprocess.run(command, cwd=self.disk.parent, capture_output=True, text=True, timeout=300)
        if first.returncode == 0 and not complete(output, len(rows)):
            self.wrong.append("guerdon score on a full disk succeeds without its rows")
        if first.returncode and (output.exists() or "Traceback" in first.stderr):
            self.wrong.append(f"guerdon score on a full disk leaves a file or a traceback: {first.stderr}")
        ballast.unlink()
        again = subprocess.run(command, cwd=self.disk.parent, capture_output=True, text=True, timeout=300)
        if again.returncode or not complete(output, len(rows)):
            self.wrong.append(f"guerdon score after a full disk does not score all rows: {again.stderr}")
        for left in (*self.disk.glob("out.jsonl*"), *self.disk.glob("command.db*")):
            left.unlink()


def complete(output: Path, count: int) -> bool:
    """Return whether the output has each row's own reward, in order."""
    if not output.exists():
        return False
    rewards = [json.loads(line)["reward"] for line in output.read_text().splitlines()]
    return rewards == [value("fast", n) for n in range(count)]


class Server:
    """A `guerdon serve` that keeps its port when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "guerdon", "serve", "--manifest", "soak.yaml", "--workers", "1"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._port)],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"http://[^\s:]+:(\d+)", self._process.stdout.readline())
        if found is None:
            raise RuntimeError(f"guerdon serve does not start on port {self._port}")
        self.url, self._port = found[0], int(found[1])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def tree(self) -> list[psutil.Process]:
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)


NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """Yield a cluster with a head without CPUs and two nodes."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(**NODE)
    ray.init(address=cluster.address, namespace="guerdon", log_to_driver=False, logging_level=logging.ERROR)
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Yield a file system that is soon full, or ``None`` where this user may not mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def write_rubric(folder: Path, code: bool) -> None:
    (folder / "verifiers.py").write_text(VERIFIERS)
    (folder / "stage.py").write_text("def run(context): return {}\n")
    (folder / "data.jsonl").write_text('{"prompt": "q"}\n')
    retry = {"retry": 2, "then": "skip"}
    rewards: list[dict[str, Any]] = [
        {"use": f"./verifiers.py:{name}", "name": name, "weight": WEIGHTS[name], "on_failure": retry}
        for name in ("fast", "slow", "odd")
    ]
    rewards[2] |= {"when": {"kind": "odd"}, "timeout": 1.5}
    if code:
        routed = {"when": {"kind": "program"}, "params": {"boxes": 1}, "weight": WEIGHTS["code"]}
        rewards.append({"use": "code", "name": "code", "on_failure": retry} | routed)
    stage = {"id": "soak", "use": "./stage.py:run", "init": "none", "rewards": rewards}
    stage["data"] = [{"use": "files", "params": {"path": "data.jsonl"}}]
    (folder / "soak.yaml").write_text(json.dumps({"name": "soak", "stages": [stage]}))  # YAML contains JSON


def rubric_entries(folder: Path) -> Any:
    return resolve_rubric(str(folder / "soak.yaml")).entries


def remote_entries(servers: Sequence[Server]) -> Any:
    """Return the entry that asks the servers. Its fingerprint is that of a living one."""
    fingerprint = httpx.get(f"{servers[0].url}/fingerprint", timeout=60).json()["fingerprint"]
    urls = [server.url for server in servers]
    params = {"urls": urls, "fingerprint": fingerprint, "attempt_timeout_s": 20, "patience_s": 120}
    return plugin_entries("remote", params)


def scored(rubric: Rubric, rows: Sequence[Rollout]) -> Any:
    """Return the judgements, or why there are none."""
    try:
        return rubric.score(rows)
    except Exception:
        return traceback.format_exc()


def row(n: int, code: bool) -> Rollout:
    kind, fault = kind_of(n, code)
    if kind == "program":
        right = n if n % 5 else n + 1
        completion = f"```python\ndef f():\n    return {n}\n```"
        return Rollout("q", completion, {"kind": kind, "reference": f"assert f() == {right}"})
    return Rollout("q", f"answer {n}", {"kind": kind, "fault": fault})


def kind_of(n: int, code: bool) -> tuple[str, str]:
    if n % FAULT_EVERY == FAULT_EVERY // 2:
        return "odd", list(FAULTS)[n // FAULT_EVERY % len(FAULTS)]
    if code and n % PROGRAM_EVERY == 0:
        return "program", ""
    return ("odd" if n % 3 == 0 else "plain"), "none"


def expected_scores(n: int, code: bool) -> dict[str, float | Failure]:
    kind, fault = kind_of(n, code)
    expected: dict[str, float | Failure] = {"fast": value("fast", n), "slow": value("slow", n)}
    if kind == "odd":
        expected["odd"] = FAULTS.get(fault) or value("odd", n)
    if kind == "program":
        expected["code"] = float(bool(n % 5))
    return expected


def weighted(scores: Mapping[str, float | Failure]) -> float:
    return sum(WEIGHTS[name] * score for name, score in scores.items() if not isinstance(score, Failure))


def value(name: str, n: int) -> float:
    return crc32(f"{name} {n}".encode()) / 2**32


def one_with(words: str, chance: random.Random) -> psutil.Process:
    """Return one of this benchmark's processes whose command has the words.

    Raises:
        NoSuchProcess: There is none.
    """
    found = [one for one in psutil.Process().children(recursive=True) if words in command_of(one)]
    if not found:
        raise psutil.NoSuchProcess(0)
    return chance.choice(found)


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


class Mallinfo2(ctypes.Structure):
    """What glibc's allocator says of its memory."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def memory_of_driver() -> str:
    """Return where this process's memory is: resident parts, what malloc uses and keeps, and Python's objects."""
    status = dict(re.findall(r"^(Rss\w+|VmRSS):\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M))
    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = Mallinfo2
    info = libc.mallinfo2()
    gc.collect()
    objects = gc.get_objects()
    kinds = Counter(type(one).__qualname__ for one in objects).most_common(6)
    parts = [f"{name} {int(kib) / 1024:.1f}" for name, kib in status.items()]
    parts += [
        f"malloc used {(info.uordblks + info.hblkhd) / 2**20:.1f}",
        f"malloc free {info.fordblks / 2**20:.1f}",
    ]
    parts += [f"pymalloc blocks {sys.getallocatedblocks()}", f"objects {len(objects)} {dict(kinds)}"]
    return "memory: " + "; ".join(parts)


_most_cpu_s = 0.0


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its descendants so far, those that were waited for included."""
    global _most_cpu_s
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    _most_cpu_s = max(_most_cpu_s, total)  # a process whose parent died takes its time with it
    return _most_cpu_s


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    main()
