"""Scoring on many machines beside local workers: verdicts a second through Ray and through reward servers.

    python tests/benchmarks/bench_machines.py --sleep --num 4000           # 4,000 verdicts that wait for 5 ms
    python tests/benchmarks/bench_machines.py --kill --num 100000 --ms 0   # the last node or server is killed midway

Ray has 1, 2 and 4 nodes, and `remote` as many servers, with two workers each. All run on this machine, so that more of
them bring no more cores: the table shows what each way costs, not how it scales. A verifier that waits (``--sleep``)
takes no core and shows the scaling. Every reward is compared with the expected one; a lost, doubled or shifted verdict
ends the benchmark.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import ray
from ray.cluster_utils import Cluster

from guerdon import Rollout
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric

VERIFIER = """
import time

def judge(completion, reference, ms, sleep):
    if sleep:
        time.sleep(ms / 1000)
    else:
        end = time.thread_time() + ms / 1000
        while time.thread_time() < end:
            pass
    return completion == reference
"""
NODE_MIB = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--num", type=int, default=2000, help="verdicts")
    parser.add_argument("--ms", type=float, default=5.0, help="milliseconds of one verdict")
    parser.add_argument("--sleep", action="store_true", help="wait instead of computing")
    parser.add_argument("--kill", action="store_true", help="kill a node and a server midway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "verifier.py")
        file.write_text(VERIFIER)
        bench = Benchmark(file, options)
        click.echo(f"{options.num:,} verdicts of {options.ms:g} ms, {os.cpu_count()} cores\n")
        click.echo("| workers | seconds | verdicts/s | us of a verdict beside its own time and core |")
        click.echo("| --- | --- | --- | --- |")
        with Rubric([bench.entry], workers=2) as rubric:
            local_s = bench.measure("2 local", rubric, 2)
        for count in (1, 2, 4):
            through_ray(bench, count, local_s / 4)
        for count in (1, 2, 4):
            through_servers(bench, count, local_s / 4)


def through_ray(bench: Benchmark, nodes: int, kill_s: float) -> None:
    cluster = Cluster(initialize_head=True, head_node_args=node(0))
    added = [cluster.add_node(**node(2)) for _ in range(nodes)]
    ray.init(address=cluster.address, namespace="guerdon", log_to_driver=False, logging_level=logging.ERROR)
    cluster.wait_for_nodes()
    kill = partial(cluster.remove_node, added[-1], allow_graceful=False) if nodes > 1 else None
    with Rubric([bench.entry], workers=2 * nodes, ray=cluster.address) as rubric:
        bench.measure(f"{2 * nodes} on {counted(nodes, 'Ray node')}", rubric, 2 * nodes, kill, kill_s)
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


def through_servers(bench: Benchmark, count: int, kill_s: float) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(served(bench)) for _ in range(count)]
        component = load_component(
            find_plugin("remote", SCORERS), {"urls": [url for _, url in servers]}, None
        )
        kill = servers[-1][0].kill if count > 1 else None
        # its own deadline is above that of its requests
        with Rubric([Entry("judge", component, timeout_s=600.0)], workers=1) as rubric:
            bench.measure(f"{2 * count} behind {counted(count, 'server')}", rubric, 2 * count, kill, kill_s)


@contextmanager
def served(bench: Benchmark) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server with two workers, and yield its process and its URL."""
    params = [f"judge.ms={bench.options.ms:g}", f"judge.sleep={str(bench.options.sleep).lower()}"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "guerdon",
            "serve",
            "--use",
            f"{bench.file}:judge",
            "--port",
            "0",
            "--workers",
            "2",
        ]
        + [option for param in params for option in ("--param", param)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http\S+", process.stdout.readline())
        if found is None:
            sys.exit("the server did not start; its own message says why")
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def node(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "object_store_memory": NODE_MIB * 2**20}


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


class Benchmark:
    """The verdicts to give, and the row of the table for one way to give them."""

    def __init__(self, file: Path, options: argparse.Namespace) -> None:
        self.file, self.options = file, options
        params = {"ms": options.ms, "sleep": options.sleep}
        self.entry = Entry("judge", load_component(find_plugin(f"{file}:judge", SCORERS), params, None))
        self._rollouts = [
            Rollout(f"question {n}", f"answer {n}", {"reference": f"answer {n}" if n % 3 else "another"})
            for n in range(options.num)
        ]

    def measure(
        self,
        name: str,
        rubric: Rubric,
        workers: int,
        kill: Callable[[], object] | None = None,
        kill_s: float = 0.0,
    ) -> float:
        """Score, compare every reward with the expected one, print a row, and return the seconds.

        Raises:
            SystemExit: A reward differs, or all verdicts came before the kill.
        """
        options = self.options
        warm = [Rollout("warm", f"warm {n}", {"reference": ""}) for n in range(64 * workers)]
        rubric.score(warm)  # all workers have started
        killer = threading.Timer(kill_s, kill) if options.kill and kill is not None else None
        started = time.perf_counter()
        if killer is not None:
            name += ", one killed"
            killer.start()
        rewards = [judgement.reward for judgement in rubric.score(self._rollouts)]
        seconds = time.perf_counter() - started
        if killer is not None and killer.is_alive():
            sys.exit(f"{name}: all verdicts came before the kill. Set a larger --num")
        if rewards != [float(bool(n % 3)) for n in range(options.num)]:
            sys.exit(f"{name}: a reward is lost, doubled or wrong")
        parallel = workers if options.sleep else min(workers, os.cpu_count() or 1)
        cost_us = (seconds - options.num * options.ms / 1000 / parallel) / options.num * 1e6
        click.echo(f"| {name} | {seconds:.2f} | {options.num / seconds:,.0f} | {cost_us:,.0f} |")
        return seconds


if __name__ == "__main__":
    main()
