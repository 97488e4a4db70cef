"""Whole GRPO iterations of the miniature (rollouts, scores, updates), guerdon's trainer against TRL's.

    guerdon run r1-zero-mini
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_iteration.py runs/r1-zero-mini/stages/base/output

The settings are the recipe's; both score with the same verifiers in the same process. Process time per step without the
first, contenders in turn. With `--steps 120 --seeds 3` it also tells whether both end at the same reward.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from statistics import mean
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon import Judgement, Rollout, Score, Verdict
from guerdon.grpo import RubricGRPOTrainer
from guerdon.training.data import rows_dataset
from guerdon.types import Judgements
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.verifiers.format import Format
from guerdon_plugins.verifiers.math import MathVerifier

WEIGHTS = {"math": 1.0, "format": 0.5}
math, tags = MathVerifier(extraction="auto"), Format(tags=["think", "answer"])


def value(result: Any) -> float | None:
    if isinstance(result, Score):
        return result.value
    return None if result is None else float(result)


def judge(text: str, row: Mapping[str, Any]) -> dict[str, float | None]:
    return {"math": value(math(text, row["reference"])), "format": value(tags(text))}


class Rubric:
    """The recipe's rewards without worker processes, as TRL calls its own."""

    names = tuple(WEIGHTS)

    def weights(self, step: int) -> dict[str, float]:
        return WEIGHTS

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        judgements = Judgements()
        for rollout in rollouts:
            verdicts = {
                name: Verdict(Score.skipped() if v is None else Score(v), WEIGHTS[name], 0.0)
                for name, v in judge(rollout.text, rollout.columns).items()
            }
            judgements.append(Judgement.of(verdicts))
        return judgements


def reward(name: str) -> Any:
    def score(completions: list[Any], row: list[Mapping[str, Any]], **_: Any) -> list[float | None]:
        return [judge(c[0]["content"], r)[name] for c, r in zip(completions, row, strict=True)]

    score.__name__ = name
    return score


class Clock(TrainerCallback):
    """Process time from the end of the first step to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.process_time())

    @property
    def seconds_per_step(self) -> float:
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def train(contender: str, base: str, steps: int, seed: int) -> tuple[float, float]:
    """Seconds per step, and the mean reward of the last tenth of the steps."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    dataset = rows_dataset(islice(Arithmetic(), 4000))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            seed=seed,
            max_steps=steps,
            per_device_train_batch_size=128,
            num_generations=8,
            max_completion_length=64,
            learning_rate=6e-4,
            lr_scheduler_type="cosine",
            logging_steps=1,
            save_strategy="no",
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            disable_tqdm=True,
            reward_weights=list(WEIGHTS.values()) if contender == "TRL" else None,
        )
        if contender == "TRL":
            rewards = [reward(name) for name in WEIGHTS]
            trainer: Any = GRPOTrainer(
                model, rewards, config, dataset, processing_class=tokenizer, callbacks=[clock]
            )
        else:
            rubric: Any = Rubric()
            trainer = RubricGRPOTrainer(model, rubric, config, dataset, tokenizer, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    rewards_seen = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    return clock.seconds_per_step, mean(rewards_seen[-max(1, steps // 10) :])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", help="the folder of the miniature's base model")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    disable_progress_bar()
    write = sys.stdout.write
    write(f"r1-zero-mini, {arguments.steps} steps, {platform.machine()}, torch {version('torch')}, ")
    write(f"trl {version('trl')}, transformers {version('transformers')}, {time.strftime('%Y-%m-%d')}\n\n")
    write("| seed | TRL, s per step | guerdon, s per step | faster by | TRL's last reward | guerdon's |\n")
    write("|---|---|---|---|---|---|\n")
    for seed in range(arguments.seeds):
        (theirs, their_reward), (ours, our_reward) = (
            train(contender, arguments.base, arguments.steps, seed) for contender in ("TRL", "guerdon")
        )
        write(
            f"| {seed} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.2f}x | {their_reward:.3f} | {our_reward:.3f} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
