"""Held-out accuracy by CPU time in the miniature, with and without dynamic sampling (DAPO, arXiv 2503.14476).

    guerdon run r1-zero-mini
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_dynamic_sampling.py runs/r1-zero-mini/stages/base/output

The settings are the recipe's. Every variant trains for the same number of steps; the CPU time is that of training and
scoring, without evaluation. The table compares the variants at equal CPU times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

import numpy as np
import torch
from bench_iteration import Rubric, judge
from tiny_training import cpu_config
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from guerdon.grpo import RubricGRPOTrainer
from guerdon.run.data import is_heldout
from guerdon.sampling.cpu_sampler import sample
from guerdon.sampling.sampling import Sampling
from guerdon.training.data import rows_dataset
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic

HELDOUT = 0.05


def rows(seed: int, count: int, *, heldout: bool) -> list[Any]:
    return list(islice((row for row in Arithmetic(seed=seed) if is_heldout(row, HELDOUT) == heldout), count))


class Curve(TrainerCallback):
    """CPU seconds and held-out accuracy, every few steps."""

    def __init__(self, trainer: Any, every: int, examples: Sequence[Any]) -> None:
        self._trainer = trainer
        self._every = every
        self._examples = examples
        self._evaluating = 0.0
        self._start = time.process_time()
        self.seconds: list[float] = []
        self.accuracies: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self._trainer.state.global_step % self._every:
            return
        began = time.process_time()
        self.seconds.append(began - self._start - self._evaluating)
        self.accuracies.append(self._accuracy())
        self._evaluating += time.process_time() - began

    @torch.no_grad()
    def _accuracy(self) -> float:
        trainer = self._trainer
        tokenizer = trainer.processing_class
        prompts = [
            tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            for row in self._examples
        ]
        sampling = Sampling(max_completion_length=64, eos_token_ids=trainer.eos_token_ids, temperature=1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trainer.model.eval()
            completions = sample(trainer.model, prompts, sampling)
            trainer.model.train()
        texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
        values = [judge(text, row)["math"] for text, row in zip(texts, self._examples, strict=True)]
        return mean(value or 0.0 for value in values)


def train(
    base: str, steps: int, seed: int, max_rounds: int, every: int
) -> tuple[Curve, list[dict[str, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        config = cpu_config(
            folder,
            seed=seed,
            max_steps=steps,
            per_device_train_batch_size=128,
            num_generations=8,
            max_completion_length=64,
            learning_rate=6e-4,
            lr_scheduler_type="cosine",
            beta=0.0,
            top_k=0,
            logging_steps=1,
        )
        rubric: Any = Rubric()
        trainer = RubricGRPOTrainer(
            AutoModelForCausalLM.from_pretrained(base),
            rubric,
            config,
            rows_dataset(rows(0, 4000, heldout=False)),
            AutoTokenizer.from_pretrained(base),
            max_rounds=max_rounds,
        )
        curve = Curve(trainer, every, rows(1, 400, heldout=True))
        trainer.add_callback(curve)
        trainer.train()
    return curve, [entry for entry in trainer.state.log_history if "reward" in entry]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", help="the folder of the miniature's base model")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-rounds", type=int, default=4)
    parser.add_argument("--every", type=int, default=10)
    arguments = parser.parse_args()
    disable_progress_bar()
    write = sys.stdout.write
    write(f"r1-zero-mini, {arguments.steps} steps, torch {version('torch')}, trl {version('trl')}\n\n")
    write(
        "| seed | max_rounds | CPU s | accuracy at 1/4, 1/2, 3/4, 1 of the shorter CPU time | at the end | kept |\n"
    )
    write("|---|---|---|---|---|---|\n")
    for seed in range(arguments.seeds):
        found = {
            rounds: train(arguments.base, arguments.steps, seed, rounds, arguments.every)
            for rounds in (0, arguments.max_rounds)
        }
        shorter = min(curve.seconds[-1] for curve, _ in found.values())
        for rounds, (curve, log) in found.items():
            at = np.interp(
                [shorter * quarter / 4 for quarter in range(1, 5)], curve.seconds, curve.accuracies
            )
            kept = mean(
                entry.get("dynamic_sampling/kept_share", 1 - entry["frac_reward_zero_std"]) for entry in log
            )
            accuracies = ", ".join(f"{value:.3f}" for value in at)
            write(
                f"| {seed} | {rounds} | {curve.seconds[-1]:.0f} | {accuracies} | {curve.accuracies[-1]:.3f} | "
            )
            write(f"{kept:.2f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
