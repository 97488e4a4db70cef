"""Trains a step with a tool in each of two processes; only the first calls it. The test of rewards starts it.

    python tools_process.py MODEL FOLDER

Each process writes FOLDER/RANK.json: the rewards that the trainer knows of both, its own advantages, and the records.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from tiny_training import RANK, cpu_config
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.chat_template_utils import qwen3_chat_template

from guerdon import Judgement, Rollout, Score, Verdict
from guerdon.grpo import RubricGRPOTrainer
from guerdon.types import Judgements

CALL = '<tool_call>\n{"name": "double", "arguments": {"number": 4}}\n</tool_call>'


def double(number: int) -> int:
    """Double a number.

    Args:
        number: The number.
    """
    return 2 * number


class Rubric:
    """Pays the first process's rollouts alike, and every second one of the other's."""

    names = ("paid", "metric")

    def weights(self, step: int) -> dict[str, float]:
        return {"paid": 0.7, "metric": 0.0}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        return Judgements(
            Judgement.of(
                {
                    "paid": Verdict(Score(float(number % 2) if RANK else 1.0), 0.7, 0.0),
                    "metric": Verdict(Score(float(number)), 0.0, 0.0),
                }
            )
            for number in range(len(rollouts))
        )


class Trainer(RubricGRPOTrainer):
    """The first process calls the tool in its first turn."""

    turns = 0

    def _sample(self, model: Any, prompt_ids: list[list[int]]) -> list[list[int]]:
        self.turns += 1
        text = CALL if self.accelerator.process_index == 0 and self.turns == 1 else "8"
        end: Any = self._tokenizer.eos_token_id
        return [[*self._tokenizer(text)["input_ids"], end] for _ in prompt_ids]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.batch = super()._generate_and_score_completions(inputs)
        return self.batch


def train(model: str, folder: Path) -> None:
    config = cpu_config(
        folder, per_device_train_batch_size=4, num_generations=4, max_completion_length=400, max_steps=1
    )
    prompt = [{"role": "user", "content": "Double 4."}]
    rows = Dataset.from_list([{"prompt": prompt, "row": {"prompt": prompt}}] * 8)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = qwen3_chat_template
    records: list[tuple[float | None, float]] = []

    def keep(step: int, rollouts: Any, judgements: Sequence[Judgement], **extra: Sequence[Any]) -> None:
        records.extend(zip([judgement.reward for judgement in judgements], extra["advantage"], strict=True))

    rubric: Any = Rubric()
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(model),
        rubric,
        config,
        rows,
        tokenizer,
        log_rollouts=keep,
        tools=[double],
    )
    trainer.train()
    seen = {
        "turns": trainer.turns,
        "rewards": trainer._rewards.tolist(),
        "advantages": trainer.batch["advantages"].tolist(),
        "records": records,
    }
    (folder / f"{RANK}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
