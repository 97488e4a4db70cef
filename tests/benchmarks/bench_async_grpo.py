"""Held-out accuracy of `async_grpo` in the miniature, beside `grpo`, by the staleness that it allows.

    python tests/benchmarks/bench_async_grpo.py http://localhost:8000 runs/r1-mini-12/stages/base/output …

The address is that of a vLLM server of the miniature's base model, with ``VLLM_SERVER_DEV_MODE=1``; the folders are
base models of several seeds. Each variant trains for the same number of steps of as many completions, and is evaluated
on the same problems.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

OPTIONS = (
    "max_steps: 60, per_device_train_batch_size: 128, num_generations: 8, max_completion_length: 80, "
    "learning_rate: 6.0e-4, lr_scheduler_type: cosine, save_steps: 30"
)
STAGE = """
  - id: {name}
    use: {stage}
    init: {{path: "{base}"}}
    data: [{{use: arithmetic, params: {{tasks: [sum, search], largest: 24}}, split: train, limit: 4000}}]
    rewards: [{{use: math, params: {{extraction: auto}}}}]
    evaluation:
      every: 15
      data:
        - {{use: arithmetic, params: {{tasks: [sum, search], largest: 24, seed: 1}}, split: heldout, limit: 400}}
    params: {{{options}}}
"""


def manifest(server: str, base: str, seed: int, staleness: list[int]) -> str:
    stages = [STAGE.format(name="grpo", stage="grpo", base=base, options=f"{OPTIONS}, beta: 0.0, top_k: 0")]
    for allowed in staleness:
        own = f"weight_transfer: folder, vllm_server_base_url: '{server}', token_budget: 0"
        own += f", max_staleness: {allowed}, max_inflight_tasks: {128 * (allowed + 1)}"
        own += f", queue_maxsize: {128 * (allowed + 1)}"
        stages.append(
            STAGE.format(name=f"async_{allowed}", stage="async_grpo", base=base, options=f"{OPTIONS}, {own}")
        )
    return f"name: async\nseed: {seed}\nstages:{''.join(stages)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", help="the address of the vLLM server")
    parser.add_argument("bases", nargs="+", help="folders of the miniature's base model, one for each seed")
    parser.add_argument("--staleness", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    write = sys.stdout.write
    write("| seed | stage | accuracy at steps 0, 15, 30, 45, 60 | mean staleness | dropped | ratio |\n")
    write("|---|---|---|---|---|---|\n")
    for seed, base in enumerate(arguments.bases):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "async.yaml")
            file.write_text(manifest(arguments.server, base, seed, arguments.staleness), encoding="utf-8")
            run = [sys.executable, "-m", "guerdon", "run", str(file), "-o", str(Path(folder, "run"))]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            lines = Path(folder, "run", "events.jsonl").read_text(encoding="utf-8").splitlines()
        for name in ("grpo", *(f"async_{allowed}" for allowed in arguments.staleness)):
            write(f"| {seed} | `{name}` | {row(name, [json.loads(line) for line in lines])} |\n")
            sys.stdout.flush()


def row(name: str, events: list[dict[str, Any]]) -> str:
    """Return the cells of a stage."""
    metrics = [one["metrics"] for one in events if one["event"] == "stage_progress" and one["stage"] == name]
    accuracies = [one["evaluation/rewards/math/mean"] for one in metrics if "evaluation/reward" in one]
    curve = ", ".join(f"{value:.3f}" for value in accuracies)
    steps = [one for one in metrics if "sample/staleness_mean" in one]
    if not steps:
        return f"{curve} | 0 | 0 | 1"
    dropped = sum(one.get("sample/dropped_stale_total") or 0 for one in steps)
    trained = sum(one["batch/samples_per_step"] for one in steps)
    staleness, ratio = (mean(one[key] for one in steps) for key in ("sample/staleness_mean", "ratio"))
    return f"{curve} | {staleness:.1f} | {dropped / (dropped + trained):.0%} | {ratio:.4f}"


if __name__ == "__main__":
    main()
