"""Held-out accuracy of `async_grpo` in the miniature, beside `grpo`, by the staleness that it allows.

    python tests/benchmarks/bench_async_grpo.py runs/r1-mini/stages/base/output …

The folders are base models of several seeds. Each variant trains for the same number of steps of as many completions,
and is evaluated on the same problems. vLLM's server runs beside the training. On a CPU, it cannot take new weights of a
tied head, so copies of the models are trained, with heads of their own.
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

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

import torch
from real_vllm import real_server
from transformers import AutoModelForCausalLM, AutoTokenizer

OPTIONS = (
    "per_device_train_batch_size: 128, num_generations: 8, max_completion_length: 80, "
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


def copy_with_own_head(base: str, copy: Path) -> None:
    """Save a copy of a model whose head is not its embeddings, with the same weights."""
    tied: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tied.config.tie_word_embeddings = False
    model = type(tied)(tied.config)
    model.load_state_dict({**tied.state_dict(), "lm_head.weight": tied.get_input_embeddings().weight.clone()})
    model.generation_config = tied.generation_config
    model.save_pretrained(copy)
    AutoTokenizer.from_pretrained(base).save_pretrained(copy)


def manifest(server: str, base: Path, seed: int, staleness: list[int], steps: int) -> str:
    options = f"max_steps: {steps}, {OPTIONS}"
    stages = [STAGE.format(name="grpo", stage="grpo", base=base, options=f"{options}, beta: 0.0, top_k: 0")]
    for allowed in staleness:
        own = f"weight_transfer: folder, vllm_server_base_url: '{server}', token_budget: 0"
        own += f", max_staleness: {allowed}, max_inflight_tasks: {128 * (allowed + 1)}"
        own += f", queue_maxsize: {128 * (allowed + 1)}"
        stages.append(
            STAGE.format(name=f"async_{allowed}", stage="async_grpo", base=base, options=f"{options}, {own}")
        )
    return f"name: async\nseed: {seed}\nstages:{''.join(stages)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bases", nargs="+", help="folders of the miniature's base model, one for each seed")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--staleness", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    write = sys.stdout.write
    write("| seed | stage | accuracy at every 15 steps | mean staleness | dropped | ratio |\n")
    write("|---|---|---|---|---|---|\n")
    for seed, base in enumerate(arguments.bases):
        with tempfile.TemporaryDirectory() as folder:
            file, copy = Path(folder, "async.yaml"), Path(folder, "base")
            copy_with_own_head(base, copy)
            with real_server(copy, Path(folder, "log"), positions=256, requests=128) as url:
                text = manifest(url, copy, seed, arguments.staleness, arguments.steps)
                file.write_text(text, encoding="utf-8")
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
