"""Trains the same rollouts in one process and in two; what the test of distributed training starts.

    python distributed_process.py MODEL FOLDER LOSS_TYPE...

The weights go to FOLDER/LOSS_TYPE-PROCESSES.safetensors. Forking pays for the imports once.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig

from guerdon.grpo import FusedGRPOTrainer

ROWS, GROUP, LENGTH = 16, 4, 7


class Trainer(FusedGRPOTrainer):
    """Its rollouts follow from the step and their place in the batch of all processes."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        start = self.accelerator.process_index * len(prompt_ids)
        completions = []
        for place in range(start, start + len(prompt_ids)):
            generator = torch.Generator().manual_seed(1000 * self.state.global_step + place)
            length = int(torch.randint(1, LENGTH + 1, (1,), generator=generator))
            completions.append(torch.randint(1, 257, (length,), generator=generator).tolist())
        return completions, None


def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The first two groups of a batch of one process have no variance, so processes train on uneven shares."""
    return [0.0 if len(ids) < 3 else sum(ids) % 5 / 5 for ids in completion_ids]


def train(model: str, folder: str, processes: int, loss_type: str, rank: int, port: int) -> None:
    if processes > 1:
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=ROWS // processes,
        num_generations=GROUP,
        num_iterations=2,
        loss_type=loss_type,
        max_completion_length=LENGTH,
        max_steps=4,
        learning_rate=0.05,
        optim="sgd",
        save_strategy="no",
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = Dataset.from_dict({"prompt": ["ab", "c", "def", "gh"] * 4})
    policy = AutoModelForCausalLM.from_pretrained(model, dtype="float64")
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = Trainer(policy, [reward], config, rows, processing_class=tokenizer)
    assert trainer.accelerator.num_processes == processes
    trainer.train()
    if rank == 0:
        weights: Any = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        save_file(
            {name: weight.clone() for name, weight in weights.items()},
            f"{folder}/{loss_type}-{processes}.safetensors",
        )


def launch(model: str, folder: str, processes: int, loss_type: str) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = [
        multiprocessing.get_context("fork").Process(
            target=train, args=(model, folder, processes, loss_type, rank, port)
        )
        for rank in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        sys.exit(f"{loss_type} in {processes} processes failed")


if __name__ == "__main__":
    model, folder, *loss_types = sys.argv[1:]
    for loss_type in loss_types:
        for processes in (1, 2):
            launch(model, folder, processes, loss_type)
