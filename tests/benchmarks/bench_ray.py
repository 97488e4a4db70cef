"""Scoring through Ray beside local workers: verdicts a second on clusters of 1, 2 and 4 nodes.

    python tests/benchmarks/bench_ray.py                    # 2,000 verdicts of 5 ms each
    python tests/benchmarks/bench_ray.py --kill --num 100000 --ms 0   # the last node is killed midway

All nodes run on this machine, so that more nodes bring no more cores: the table shows what Ray costs, not how it
scales. A verifier that waits (``--sleep``) takes no core and shows the scaling. Every reward is compared with the
expected one; a lost, doubled or shifted verdict ends the benchmark.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
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
    parser.add_argument("--kill", action="store_true", help="kill a node midway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "verifier.py")
        file.write_text(VERIFIER)
        click.echo(f"{options.num:,} verdicts of {options.ms:g} ms, {os.cpu_count()} cores\n")
        click.echo("| workers | seconds | verdicts/s | us of a verdict beside its own time and core |")
        click.echo("| --- | --- | --- | --- |")
        local_s = measure("2 local", file, options, 2, None)
        for nodes in (1, 2, 4):
            cluster = Cluster(initialize_head=True, head_node_args=node(0))
            added = [cluster.add_node(**node(2)) for _ in range(nodes)]
            ray.init(
                address=cluster.address, namespace="guerdon", log_to_driver=False, logging_level=logging.ERROR
            )
            cluster.wait_for_nodes()
            killer = None
            if options.kill and nodes > 1:
                killer = threading.Timer(
                    local_s / 4, cluster.remove_node, [added[-1]], {"allow_graceful": False}
                )
            name = (
                f"{2 * nodes} on {nodes} Ray node{'s' if nodes > 1 else ''}{', one killed' if killer else ''}"
            )
            measure(name, file, options, 2 * nodes, cluster.address, killer)
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]


def node(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "object_store_memory": NODE_MIB * 2**20}


def measure(
    name: str,
    file: Path,
    options: argparse.Namespace,
    workers: int,
    address: str | None,
    killer: threading.Timer | None = None,
) -> float:
    """Score, compare every reward with the expected one, print a row, and return the seconds.

    Raises:
        SystemExit: A reward differs, or the node was still there at the end.
    """
    component = load_component(
        find_plugin(f"{file}:judge", SCORERS), {"ms": options.ms, "sleep": options.sleep}, None
    )
    rollouts = [
        Rollout(f"question {n}", f"answer {n}", {"reference": f"answer {n}" if n % 3 else "another"})
        for n in range(options.num)
    ]
    with Rubric([Entry("judge", component)], workers=workers, ray=address) as rubric:
        warm = [Rollout("warm", f"warm {n}", {"reference": ""}) for n in range(64 * workers)]
        rubric.score(warm)  # all workers have started
        started = time.perf_counter()
        if killer is not None:
            killer.start()
        rewards = [judgement.reward for judgement in rubric.score(rollouts)]
        seconds = time.perf_counter() - started
    if killer is not None and killer.is_alive():
        sys.exit(f"{name}: all verdicts came before the node was killed. Set a larger --num")
    if rewards != [float(bool(n % 3)) for n in range(options.num)]:
        sys.exit(f"{name}: a reward is lost, doubled or wrong")
    parallel = workers if options.sleep else min(workers, os.cpu_count() or 1)
    cost_us = (seconds - options.num * options.ms / 1000 / parallel) / options.num * 1e6
    click.echo(f"| {name} | {seconds:.2f} | {options.num / seconds:,.0f} | {cost_us:,.0f} |")
    return seconds


if __name__ == "__main__":
    main()
