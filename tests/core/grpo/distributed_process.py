"""Trains the same rollouts in one process or in each of several; what the test of distributed training starts.

    python distributed_process.py MODEL FOLDER LOSS_TYPE

The weights go to FOLDER/LOSS_TYPE-PROCESSES.safetensors.
"""

from __future__ import annotations

import sys
from typing import Any

from datasets import Dataset
from tiny_training import PROCESSES, cpu_config, drawn_tokens, save_weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon.grpo import FusedGRPOTrainer

ROWS, GROUP, LENGTH = 16, 4, 7


class Trainer(FusedGRPOTrainer):
    """Its rollouts follow from the step and their place in the batch of all processes."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        start = self.accelerator.process_index * len(prompt_ids)
        places = range(start, start + len(prompt_ids))
        return [drawn_tokens(1000 * self.state.global_step + place, LENGTH) for place in places], None


def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The first two groups of a batch of one process have no variance, so processes train on uneven shares."""
    return [0.0 if len(ids) < 3 else sum(ids) % 5 / 5 for ids in completion_ids]


def train(model: str, folder: str, loss_type: str) -> None:
    config = cpu_config(
        folder,
        per_device_train_batch_size=ROWS // PROCESSES,
        num_generations=GROUP,
        num_iterations=2,
        loss_type=loss_type,
        max_completion_length=LENGTH,
        max_steps=4,
        learning_rate=0.05,
        optim="sgd",
        remove_unused_columns=True,
    )
    rows = Dataset.from_dict({"prompt": ["ab", "c", "def", "gh"] * 4})
    policy = AutoModelForCausalLM.from_pretrained(model, dtype="float64")
    trainer = Trainer(policy, [reward], config, rows, processing_class=AutoTokenizer.from_pretrained(model))
    assert trainer.accelerator.num_processes == PROCESSES
    trainer.train()
    save_weights(trainer, f"{folder}/{loss_type}-{PROCESSES}.safetensors")


if __name__ == "__main__":
    train(*sys.argv[1:])
