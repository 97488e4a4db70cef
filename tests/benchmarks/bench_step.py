"""One training step of a tiny Qwen3 on CPU, guerdon's trainer against TRL's, on the same micro-batches.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_step.py

Process time of loss and backward pass, contenders in turn, the minimum of the rounds. The batch is what GRPO makes:
groups of eight on one prompt, completions of uneven lengths, a share of the groups without variance.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.grpo import FusedGRPOTrainer, StepOptions

GROUPS, SIZE, PROMPT, LONGEST, VOCABULARY = 4, 8, 128, 128, 8192


def make(kind: type[GRPOTrainer], folder: str, **own: Any) -> Any:
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
        )
    )
    words = Tokenizer(WordLevel({"<end>": 0}, unk_token="<end>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=GROUPS * SIZE,
        num_generations=SIZE,
        max_completion_length=LONGEST,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
    )
    rows = Dataset.from_dict({"prompt": ["a"] * GROUPS})
    trainer = kind(model, [len], config, rows, processing_class=tokenizer, **own)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def micro_batch(without_variance: float) -> dict[str, torch.Tensor]:
    """Lengths are log-normal, as GRPO's are: most are short and a few run to the end."""
    torch.manual_seed(1)
    rows = GROUPS * SIZE
    lengths = (torch.randn(rows) * 0.9).exp().mul(LONGEST / 5).long().clamp(2, LONGEST)
    mask = (torch.arange(LONGEST) < lengths[:, None]).long()
    advantages = torch.randn(GROUPS, SIZE)
    advantages[: round(without_variance * GROUPS)] = 0
    return {
        "prompt_ids": torch.randint(1, VOCABULARY, (GROUPS, PROMPT)).repeat_interleave(SIZE, 0),
        "prompt_mask": torch.ones(rows, PROMPT, dtype=torch.long),
        "completion_ids": torch.randint(1, VOCABULARY, (rows, LONGEST)) * mask,
        "completion_mask": mask,
        "advantages": advantages.flatten(),
        "num_items_in_batch": mask.sum(),
    }


def run(trainer: Any, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    trainer.model.zero_grad()
    start = time.process_time()
    trainer._compute_loss(trainer.model, batch).backward()
    return time.process_time() - start, torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    off = {"pack_sequences": False, "share_prefix": False, "skip_zero_variance": False}
    with tempfile.TemporaryDirectory() as folder:
        contenders = {
            "TRL": make(GRPOTrainer, folder),
            "+ fused loss": make(FusedGRPOTrainer, folder, step_options=StepOptions(**off)),
            "+ packing": make(
                FusedGRPOTrainer, folder, step_options=StepOptions(**{**off, "pack_sequences": True})
            ),
            "+ shared prefix": make(
                FusedGRPOTrainer, folder, step_options=StepOptions(skip_zero_variance=False)
            ),
            "+ skipped groups": make(FusedGRPOTrainer, folder),
        }
        write = sys.stdout.write
        write(
            f"{GROUPS} groups of {SIZE}, prompts of {PROMPT}, completions up to {LONGEST}, V {VOCABULARY}, "
        )
        write(f"{torch.get_num_threads()} thread, {platform.machine()}, torch {version('torch')}, ")
        write(f"trl {version('trl')}, {time.strftime('%Y-%m-%d')}\n\n")
        write(
            "| step | all groups vary | faster by | a quarter does not | faster by |\n|---|---|---|---|---|\n"
        )
        columns = []
        for share in (0.0, 0.25):
            batch = micro_batch(share)
            times: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(arguments.rounds):
                expected = run(contenders["TRL"], batch)[1]
                for name, trainer in contenders.items():
                    seconds, gradient = run(trainer, batch)
                    assert (gradient - expected).norm() < 1e-4 * expected.norm(), name
                    times[name].append(seconds)
            columns.append({name: min(seconds) for name, seconds in times.items()})
        for name in contenders:
            cells = [f"{column[name]:.3f} s | {column['TRL'] / column[name]:.2f}x" for column in columns]
            write(f"| {name} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
