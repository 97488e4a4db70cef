"""The reward server under load, on loopback: throughput, and whether every answer is the asker's own.

    python tests/benchmarks/bench_serve.py          # needs wrk (Debian: apt-get install wrk)

The verifier gives the number in the completion, so that each result tells whose it is: a result that is missing, comes
twice, or stands at another's place is counted. wrk loads the server with batches of several sizes; an asyncio client,
which knows the request of each answer, checks order and content.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil

LUA = Path(__file__).with_name("bench_serve.lua")


@contextmanager
def server(workers: int) -> Iterator[tuple[str, psutil.Process]]:
    """The URL of a server, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "v.py").write_text("def number(completion): return float(completion)\n")
        command = [sys.executable, "-m", "guerdon", "serve", "--use", "./v.py:number", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--workers", str(workers)], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            httpx.post(f"{found[0]}/score", json={"rollouts": [{"completion": "0"}]}, timeout=60)
            yield found[0], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def spent(url: str, process: psutil.Process) -> tuple[float, int]:
    """The CPU seconds of the server and its workers so far, and the rollouts that they judged, once nothing waits."""
    while httpx.get(f"{url}/health/live", timeout=60).json()["pending"]:  # what wrk no longer waits for
        time.sleep(0.1)
    times = [part.cpu_times() for part in (process, *process.children())]
    (judged,) = re.findall(
        r"^guerdon_scores_total{.*} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE
    )
    return float(sum(time.user + time.system for time in times)), int(float(judged))


def wrk(url: str, connections: int, batch: int, seconds: int) -> dict[str, Any]:
    command = [
        "wrk",
        "-t",
        "2",
        "-c",
        str(connections),
        "-d",
        f"{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(LUA),
        url,
    ]
    output = subprocess.run([*command, "--", str(batch)], capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in output.splitlines() if line.startswith("RESULT")]
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


async def aligned(url: str, clients: int, requests: int) -> tuple[int, int, float]:
    """Rollouts asked, results that are wrong, seconds; requests are of 1 to 64 rollouts."""
    numbers = iter(range(10**9))
    asked = wrong = 0

    async def ask(client: httpx.AsyncClient, chance: random.Random) -> None:
        nonlocal asked, wrong
        for _ in range(requests):
            ids = [next(numbers) for _ in range(chance.randint(1, 64))]
            body = {"rollouts": [{"id": n, "completion": str(n)} for n in ids]}
            results = (await client.post("/score", json=body)).json()["results"]
            asked += len(ids)
            wrong += abs(len(results) - len(ids))
            wrong += sum((r["id"], r["reward"]) != (n, n) for n, r in zip(ids, results, strict=False))

    started = time.monotonic()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        await asyncio.gather(*(ask(client, random.Random(seed)) for seed in range(clients)))
    return asked, wrong, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=8, help="of each run of wrk")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    out = sys.stdout.write
    out(f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, Python {platform.python_version()}, ")
    out(f"uvicorn {version('uvicorn')}, fastapi {version('fastapi')}; {options.workers} workers\n\n")
    out(
        "| client | connections | rollouts a request | requests/s | rollouts/s | p50 ms | p99 ms | "
        "server's CPU ms a rollout | "
    )
    out("rollouts judged | errors | missing | shifted | doubled |\n|" + "---|" * 13 + "\n")
    with server(options.workers) as (url, process):
        for batch in (1, 16, 128):
            cpu_before, judged_before = spent(url, process)
            r = wrk(url, options.connections, batch, options.seconds)
            cpu, judged = spent(url, process)
            out(
                f"| wrk | {options.connections} | {batch} | {r['requests'] / r['seconds']:.0f} | "
                f"{r['judged'] / r['seconds']:.0f} | {r['p50_ms']:.0f} | {r['p99_ms']:.0f} | "
                f"{1000 * (cpu - cpu_before) / (judged - judged_before):.2f} | {r['judged']} | "
                f"{r['errors']} | {r['short']} | {r['shifted']} | {r['doubled']} |\n"
            )
            sys.stdout.flush()
        asked, wrong, seconds = asyncio.run(aligned(url, options.connections, 15))
        requests = options.connections * 15
        out(
            f"| asyncio | {options.connections} | 1 to 64 | {requests / seconds:.0f} | {asked / seconds:.0f} | | | | "
            f"{asked} | 0 | {wrong} in all | | |\n"
        )


if __name__ == "__main__":
    main()
