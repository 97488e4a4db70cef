"""Trains on prompts that guerdon chooses in one process or in each of several; what the tests of several start.

    python prompts_process.py MODEL FOLDER WAY

WAY is `dynamic`, which samples fresh prompts from rows in memory, `stream`, which reads the rows while it trains, or
`curriculum`, which draws them by their column `rest`.
The weights go to FOLDER/PROCESSES.safetensors, and the batches to FOLDER/PROCESSES.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from tiny_training import PROCESSES, RANK, OneReward, cpu_config, drawn_tokens, save_weights
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from guerdon import Judgement, Rollout, Row
from guerdon.grpo import RubricGRPOTrainer
from guerdon.grpo.curriculum import Curriculum, curriculum_dataset
from guerdon.training.data import rows_dataset
from guerdon.training.streaming import streamed_dataset

ROWS, GROUP, BATCH, LENGTH = 40, 4, 16, 7


def rare(rollouts: Sequence[Rollout]) -> list[float]:
    """Pay two thirds of the groups alike."""
    return [sum(r.completion_ids) % 5 / 5 if r.columns["number"] % 3 == 0 else 1.0 for r in rollouts]


class Trainer(RubricGRPOTrainer):
    """A completion follows from the step, the prompt, and its place in the group, however processes share them."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        start = self.accelerator.process_index * len(prompt_ids)
        step = 1000 * self.state.global_step
        seeds = [step + 10 * sum(ids) + place % GROUP for place, ids in enumerate(prompt_ids, start=start)]
        return [drawn_tokens(seed, LENGTH) for seed in seeds], None


def rows() -> Iterator[Row]:
    return ({"prompt": f"say {number}", "number": number, "rest": number % 3} for number in range(ROWS))


def data(way: str, config: GRPOConfig) -> tuple[Dataset, Curriculum | None]:
    if way == "curriculum":
        return curriculum_dataset(rows(), "rest", config)
    return streamed_dataset(rows, config) if way == "stream" else rows_dataset(rows()), None


def train(model: str, folder: str, way: str) -> None:
    config = cpu_config(
        folder,
        per_device_train_batch_size=BATCH // PROCESSES,
        num_generations=GROUP,
        max_completion_length=LENGTH,
        max_steps=8 if way == "curriculum" else 4,
        learning_rate=0.05,
        optim="sgd",
        logging_steps=1,
    )
    batches: list[list[Any]] = []

    def keep(step: int, rollouts: Sequence[Rollout], judgements: Sequence[Judgement], **_: Any) -> None:
        batches.append(
            [
                [r.columns["number"], list(r.completion_ids), j.reward]
                for r, j in zip(rollouts, judgements, strict=True)
            ]
        )

    rubric: Any = OneReward("rare", rare)
    dataset, curriculum = data(way, config)
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(model, dtype="float64"),
        rubric,
        config,
        dataset,
        AutoTokenizer.from_pretrained(model),
        log_rollouts=keep,
        max_rounds=20 if way == "dynamic" else 0,
        curriculum=curriculum,
    )
    assert trainer.accelerator.num_processes == PROCESSES
    trainer.train()
    save_weights(trainer, f"{folder}/{PROCESSES}.safetensors")
    if RANK == 0:
        logged = [
            {
                name: value
                for name, value in entry.items()
                if name.startswith(("dynamic_sampling/", "curriculum/"))
            }
            for entry in trainer.state.log_history
        ]
        Path(folder, f"{PROCESSES}.json").write_text(json.dumps({"batches": batches, "metrics": logged}))


if __name__ == "__main__":
    train(*sys.argv[1:])
