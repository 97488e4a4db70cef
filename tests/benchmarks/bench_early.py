"""Seconds of stages whose verifier takes 200 ms: judged when all completions are there, and while others are generated.

    python tests/benchmarks/bench_early.py
    python tests/benchmarks/bench_early.py --launch

``sample`` asks an endpoint of this process, which answers each request after 0.5 to 2 s, 16 at a time. ``evaluate``
and ``grpo`` complete with a random model on the CPU. The verifier sleeps, so it needs no core. The rows say how long
the stage takes without a verifier, and with one in both ways; the median of some runs, in turn.

With ``--launch``, two processes of ``torchrun`` run ``evaluate`` with two workers for each machine: on one machine, and
as if they were on two. The seconds contain the start.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

from chat_server import served

from guerdon.manifest import load_manifest, plan_run
from guerdon.rubric import Rubric
from guerdon.run import execute

MODULE = """
import asyncio
import time


class Rows:
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return ({"prompt": f"say {number}", "reference": str(number)} for number in range(self.count))


def slow(completion):
    time.sleep(0.2)
    return 1.0


async def judge(completion):
    await asyncio.sleep(0.2)
    return 1.0


def instant(completion):
    return 1.0
"""


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer after a time that the request decides."""
    time.sleep(0.5 + body["seed"] % 1000 / 1000 * 1.5)
    choice = {"index": 0, "text": f"{body['prompt']} {body['seed']}", "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"completion_tokens": 7}}


def stages(url: str) -> dict[str, dict[str, Any]]:
    """Return each stage of the table, without its rewards."""

    def rows(count: int) -> list[Any]:
        return [{"use": "./early.py:Rows", "params": {"count": count}}]

    asked = {"base_url": url, "model": "stand-in", "concurrency": 16}
    sampled = {"keep": {}, "num_generations": 4, "endpoint": asked}
    evaluated = {"num_generations": 4, "max_completion_length": 200, "per_device_eval_batch_size": 32}
    trained = {
        "max_steps": 4,
        "num_generations": 8,
        "per_device_train_batch_size": 64,
        "max_completion_length": 240,
        "learning_rate": 0.0,
    }
    return {
        "sample, endpoint, 400 completions": {"use": "sample", "data": rows(100), "params": sampled},
        "evaluate, CPU, 400 completions": {
            "use": "evaluate",
            "init": ["base"],
            "data": rows(80),
            "params": evaluated,
        },
        "grpo, CPU, 4 steps of 64 rollouts": {"use": "grpo", "data": rows(64), "params": trained},
    }


def seconds(stage: dict[str, Any], verifier: str, folder: Path, *, early: bool) -> float:
    """Return how long a run of one stage takes, from its first progress to its end."""
    manifest = {
        "name": "early",
        "model": "./tiny",
        "scoring": {"workers": 8},
        "stages": [{"id": "st", **stage, "rewards": [{"use": f"./early.py:{verifier}"}]}],
    }
    (folder / "m.json").write_text(json.dumps(manifest))
    own: Any = Rubric.early_names
    if not early:
        setattr(Rubric, "early_names", frozenset())  # noqa: B010
    try:
        with tempfile.TemporaryDirectory(dir=folder) as run:
            began = time.perf_counter()
            execute(plan_run(load_manifest(folder / "m.json")), Path(run) / "run", [])
            return time.perf_counter() - began
    finally:
        setattr(Rubric, "early_names", own)  # noqa: B010


def launched(stage: dict[str, Any], verifier: str, folder: Path, *, machines: int) -> float:
    """Return how long two processes take to run one stage, on so many machines."""
    (folder / "m.json").write_text(
        json.dumps(
            {
                "name": "early",
                "model": "./tiny",
                "scoring": {"workers": 2},
                "stages": [{"id": "st", **stage, "rewards": [{"use": f"./early.py:{verifier}"}]}],
            }
        )
    )
    with socket.socket() as free, tempfile.TemporaryDirectory(dir=folder) as run:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        free.close()
        began = time.perf_counter()
        launchers = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={machines}"),
                    *(f"--node-rank={rank}", f"--nproc-per-node={2 // machines}"),
                    *("--master-addr=localhost", f"--master-port={port}"),
                    *("-m", "guerdon", "run", "m.json", "-o", f"{run}/run"),
                ],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(machines)
        ]
        if any(codes := [launcher.wait() for launcher in launchers]):
            sys.exit(f"a launch failed: {codes}")
        return time.perf_counter() - began


def told(line: str) -> None:
    """Print a line of the table."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--launch", action="store_true", help="measure two processes instead of one")
    arguments = parser.parse_args()
    fixtures = Path(__file__).parents[1] / "fixtures"
    with tempfile.TemporaryDirectory() as place, served(answer) as url:
        folder = Path(place)
        (folder / "early.py").write_text(MODULE)
        save: Any = runpy.run_path(str(fixtures / "tiny_model.py"))["save_tiny_model"]
        save(folder / "tiny", hidden_size=128, head_dim=32, initializer_range=0.02)
        if arguments.launch:
            stage = stages("")["evaluate, CPU, 400 completions"]
            told("| verifier | one machine | two machines |\n|---|---|---|")
            for verifier in ("instant", "slow"):
                both = [
                    [launched(stage, verifier, folder, machines=machines) for machines in (1, 2)]
                    for _ in range(arguments.runs)
                ]
                cells = " | ".join(f"{statistics.median(values):.1f} s" for values in zip(*both, strict=True))
                told(f"| {verifier} | {cells} |")
            return
        told("| stage | verifier | none | when all are there | while others are generated |")
        told("|---|---|---|---|---|")
        for name, stage in stages(f"{url}/v1").items():
            for verifier, said in (("slow", "sync, 8 workers"), ("judge", "async")):
                times: dict[str, list[float]] = {"none": [], "late": [], "early": []}
                for _ in range(arguments.runs):
                    times["none"].append(seconds(stage, "instant", folder, early=False))
                    times["late"].append(seconds(stage, verifier, folder, early=False))
                    times["early"].append(seconds(stage, verifier, folder, early=True))
                cells = " | ".join(f"{statistics.median(values):.1f} s" for values in times.values())
                told(f"| {name} | {said} | {cells} |")


if __name__ == "__main__":
    main()
