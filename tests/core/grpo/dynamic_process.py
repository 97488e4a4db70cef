"""Trains by dynamic sampling in one process or in several; what the test of several processes starts.

    python dynamic_process.py MODEL FOLDER PROCESSES...

The weights go to FOLDER/PROCESSES.safetensors, and the batches to FOLDER/PROCESSES.json. Forking pays for the imports
once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig

from guerdon import Judgement, Rollout, Score, Verdict
from guerdon.grpo import RubricGRPOTrainer
from guerdon.training.data import rows_dataset
from guerdon.types import Judgements

ROWS, GROUP, BATCH = 40, 4, 16


class Rubric:
    names = ("rare",)

    def weights(self, step: int) -> dict[str, float]:
        return {"rare": 1.0}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        values = [sum(r.completion_ids) % 5 / 5 if r.columns["number"] % 3 == 0 else 1.0 for r in rollouts]
        return Judgements(Judgement.of({"rare": Verdict(Score(value), 1.0, 0.0)}) for value in values)


class Trainer(RubricGRPOTrainer):
    """A completion follows from the step, the prompt, and its place in the group, however processes share them."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        start = self.accelerator.process_index * len(prompt_ids)
        completions = []
        for place, ids in enumerate(prompt_ids, start=start):
            seed = 1000 * self.state.global_step + 10 * sum(ids) + place % GROUP
            generator = torch.Generator().manual_seed(seed)
            length = int(torch.randint(1, 8, (1,), generator=generator))
            completions.append(torch.randint(1, 257, (length,), generator=generator).tolist())
        return completions, None


def train(model: str, folder: str, processes: int, rank: int, port: int) -> None:
    if processes > 1:
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=BATCH // processes,
        num_generations=GROUP,
        max_completion_length=7,
        max_steps=4,
        learning_rate=0.05,
        optim="sgd",
        save_strategy="no",
        logging_steps=1,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    batches: list[list[Any]] = []

    def keep(step: int, rollouts: Sequence[Rollout], judgements: Sequence[Judgement], **_: Any) -> None:
        batches.append(
            [
                [r.columns["number"], list(r.completion_ids), j.reward]
                for r, j in zip(rollouts, judgements, strict=True)
            ]
        )

    rubric: Any = Rubric()
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(model, dtype="float64"),
        rubric,
        config,
        rows_dataset({"prompt": f"say {number}", "number": number} for number in range(ROWS)),
        AutoTokenizer.from_pretrained(model),
        log_rollouts=keep,
        max_rounds=20,
    )
    assert trainer.accelerator.num_processes == processes
    trainer.train()
    if rank == 0:
        weights: Any = trainer.accelerator.unwrap_model(trainer.model).state_dict()
        save_file(
            {name: weight.clone() for name, weight in weights.items()}, f"{folder}/{processes}.safetensors"
        )
        logged = [
            {name: value for name, value in entry.items() if name.startswith("dynamic_sampling/")}
            for entry in trainer.state.log_history
        ]
        Path(folder, f"{processes}.json").write_text(json.dumps({"batches": batches, "metrics": logged}))


def launch(model: str, folder: str, processes: int) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = [
        multiprocessing.get_context("fork").Process(target=train, args=(model, folder, processes, rank, port))
        for rank in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        sys.exit(f"{processes} processes failed")


if __name__ == "__main__":
    model, folder, *counts = sys.argv[1:]
    for count in counts:
        launch(model, folder, int(count))
