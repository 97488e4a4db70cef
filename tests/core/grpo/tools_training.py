"""Trains a tiny model with tools for two steps; what the tests of many turns start.

    python tools_training.py MODEL FOLDER MODE

MODE is ``ours`` (a toolbox), or ``trl`` (TRL's own loop). The model's turns are drawn from fixed texts with torch's
generator. FOLDER/MODE.json holds the tokens, the masks and the messages of all rollouts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import tool_plugins
import torch
from datasets import Dataset
from tiny_training import OneReward, cpu_config
from tool_entries import entry_of
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.chat_template_utils import qwen3_chat_template

from guerdon import Rollout
from guerdon.grpo import RubricGRPOTrainer
from guerdon.plugins.discovery import Kind
from guerdon.tools import Toolbox


def written(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


TURNS = [
    *(written("double", number=number) for number in range(4)),
    written("increment", step=3),
    written("increment", step=-1),
    written("double", number=1) + written("increment", step=2),
    written("double", numbers=1),
    written("nothing"),
    written("reset"),
    "<tool_call>\n{broken\n</tool_call>",
    "8",
    "I think it is 8.",
    "<tool_response>\n9\n</tool_response>",
]


def paid(rollouts: Sequence[Rollout]) -> list[float]:
    """Pay in a way that tells rollouts apart."""
    return [float(len(rollout.text) % 7) for rollout in rollouts]


class Trainer(RubricGRPOTrainer):
    """Draws turns from ``TURNS``, and keeps what comes of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seen: list[Any] = []
        super().__init__(*args, **kwargs)

    def _sample(self, model: Any, prompt_ids: list[list[int]]) -> list[list[int]]:
        end: Any = self._tokenizer.eos_token_id
        drawn = [TURNS[int(torch.randint(len(TURNS), ()))] for _ in prompt_ids]
        return [[*self._tokenizer(text)["input_ids"], end] for text in drawn]

    def _generate(self, prompts: list[Any]) -> Any:
        generated = super()._generate(prompts)
        prompt_ids, completion_ids, mask, completions = generated[:4]
        self.seen.append(
            {"prompts": prompt_ids, "ids": completion_ids, "mask": mask, "completions": completions}
        )
        return generated


def train(model: str, folder: Path, mode: str) -> None:
    config = cpu_config(
        folder / mode,
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=700,
        max_tool_calling_iterations=5,
        max_steps=2,
        logging_steps=1,
        seed=5,
    )
    prompt = [{"role": "user", "content": "Double 4. "}]
    row = {"prompt": prompt, "start": 2, "show": True}
    rows = Dataset.from_list([{"prompt": prompt, "row": row, "start": 2, "show": True}] * 8)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = qwen3_chat_template
    entries = [entry_of("double"), entry_of("Counter", Kind.ENVIRONMENT)]
    ours = mode == "ours"
    rubric: Any = OneReward("paid", paid)
    records: list[Any] = []
    options: dict[str, Any] = {"tools": [tool_plugins.double], "environment_factory": Uncounted}
    with Toolbox(entries) if ours else nullcontext() as toolbox:
        trainer = Trainer(
            AutoModelForCausalLM.from_pretrained(model),
            rubric,
            config,
            rows,
            tokenizer,
            log_rollouts=lambda step, rollouts, judgements, **_: records.extend(rollouts),
            **({"toolbox": toolbox} if ours else options),
        )
        trainer.train()
    rollouts = [
        {
            "calls": [call.for_scorer() for call in rollout.tool_calls],
            "environment": rollout.environment,
            "reward": rollout.environment_reward,
            "broken": rollout.broken,
        }
        for rollout in records
    ]
    metrics = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.model is not None
    weights = [float(parameter.detach().double().sum()) for parameter in trainer.model.parameters()]
    seen = {"seen": trainer.seen, "rollouts": rollouts, "metrics": metrics, "weights": weights}
    (folder / f"{mode}.json").write_text(json.dumps(seen))


class Uncounted(tool_plugins.Counter):
    """The environment without a reward, which TRL would add to the rubric's."""

    get_reward: Any = None


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
