"""One training step, guerdon's trainer against TRL's, on the same micro-batches.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_step.py        # a tiny Qwen3 on CPU
    python tests/benchmarks/bench_step.py --gpu                    # Qwen3-1.7B's shape on a CUDA GPU, in bfloat16

Loss and backward pass, contenders in turn, the minimum of the rounds: process time on CPU, elapsed time on a GPU. The
batch is what GRPO makes: groups of eight on one prompt, completions of uneven lengths, a share of the groups without
variance. The first table has the error of each contender's gradient against TRL's in float32, on one group of short
completions: at most 1e-4 in float32, and at most 1.2 times TRL's own in bfloat16.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
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

SIZE = 8


@dataclass(frozen=True)
class Workload:
    model: dict[str, Any]
    groups: int
    groups_at_once: int
    """Of a micro-batch."""
    prompt: int
    median: int
    longest: int
    cut_off: float
    """The share of completions that run to the end."""
    without_variance: float
    options: dict[str, Any]


TINY = Workload(
    model={
        "vocab_size": 8192,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
    },
    groups=4,
    groups_at_once=4,
    prompt=128,
    median=26,
    longest=128,
    cut_off=0,
    without_variance=0.25,
    options={"bf16": False, "gradient_checkpointing": False, "use_cpu": True},
)
QWEN3_2B = Workload(
    model={
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": True,
    },
    groups=8,
    groups_at_once=1,
    prompt=512,
    median=700,
    longest=4096,
    cut_off=0.1,
    without_variance=0.3,
    options={"bf16": True},
)


def make_model(workload: Workload) -> Any:
    torch.manual_seed(0)
    with torch.device("cpu" if workload.options.get("use_cpu") else "cuda"):
        model = Qwen3ForCausalLM(Qwen3Config(**workload.model))
    if workload.options.get("gradient_checkpointing", True):
        model.gradient_checkpointing_enable()
    return model.train()


def characters(completions: list[str], **_: Any) -> list[float | None]:
    return [float(len(completion)) for completion in completions]


def make_trainer(kind: type[GRPOTrainer], model: Any, workload: Workload, folder: str, **own: Any) -> Any:
    words = Tokenizer(WordLevel({"<end>": 0}, unk_token="<end>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=workload.groups_at_once * SIZE,
        num_generations=SIZE,
        max_completion_length=workload.longest,
        **workload.options,
    )
    rows = Dataset.from_dict({"prompt": ["a"] * workload.groups})
    trainer = kind(model, [characters], config, rows, processing_class=tokenizer, **own)
    trainer.current_gradient_accumulation_steps = workload.groups // workload.groups_at_once
    return trainer


def micro_batches(
    workload: Workload, without_variance: float, device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """Lengths are log-normal, as GRPO's are: most are short and a few run to the end.

    As TRL's, all are padded to the longest of the whole batch.
    """
    torch.manual_seed(1)
    rows, vocabulary = workload.groups * SIZE, workload.model["vocab_size"]
    lengths = (torch.randn(rows) * 0.9).exp().mul(workload.median).long().clamp(2, workload.longest)
    lengths[torch.randperm(rows)[: round(workload.cut_off * rows)]] = workload.longest
    mask = (torch.arange(workload.longest) < lengths[:, None]).long()
    advantages = torch.randn(workload.groups, SIZE)
    advantages[: round(without_variance * workload.groups)] = 0
    batch = {
        "prompt_ids": torch.randint(1, vocabulary, (workload.groups, workload.prompt)).repeat_interleave(
            SIZE, 0
        ),
        "prompt_mask": torch.ones(rows, workload.prompt, dtype=torch.long),
        "completion_ids": torch.randint(1, vocabulary, mask.shape) * mask,
        "completion_mask": mask,
        "advantages": advantages.flatten(),
    }
    parts = {name: value.to(device).split(workload.groups_at_once * SIZE) for name, value in batch.items()}
    count = len(parts["advantages"])
    return [
        {name: part[i] for name, part in parts.items()} | {"num_items_in_batch": mask.sum().to(device)}
        for i in range(count)
    ]


def gradient(trainer: Any, batches: list[dict[str, torch.Tensor]], *, narrow: bool = True) -> torch.Tensor:
    trainer.model.zero_grad()
    for batch in batches:
        with trainer.accelerator.autocast() if narrow else nullcontext():
            loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def make_contenders(workload: Workload, folder: str) -> dict[str, Any]:
    off = {"pack_sequences": False, "share_prefix": False, "skip_zero_variance": False}
    steps = {
        "+ fused loss": StepOptions(**off),
        "+ packing": StepOptions(**{**off, "pack_sequences": True}),
        "+ shared prefix": StepOptions(skip_zero_variance=False),
        "+ skipped groups": StepOptions(),
    }
    model = make_model(workload)
    ours = {
        name: make_trainer(FusedGRPOTrainer, model, workload, folder, step_options=options)
        for name, options in steps.items()
    }
    return {"TRL": make_trainer(GRPOTrainer, model, workload, folder), **ours}


def gradient_errors(workload: Workload, folder: str) -> dict[str, float]:
    """The relative error of each contender's gradient against TRL's in float32, on one group of short completions.

    The model has four layers, so that both precisions fit beside each other.
    """
    shallow = {**workload.model, "num_hidden_layers": 4}
    short = replace(workload, model=shallow, groups=1, groups_at_once=1, longest=min(workload.longest, 512))
    wide = replace(short, options={**workload.options, "bf16": False})
    # First, because accelerate's precision is that of the trainer that was made last.
    true = make_trainer(GRPOTrainer, make_model(wide), wide, folder)
    batches = micro_batches(short, 0.0, true.model.device)
    exact = gradient(true, batches, narrow=False)
    return {
        name: float((gradient(trainer, batches) - exact).norm() / exact.norm())
        for name, trainer in make_contenders(short, folder).items()
    }


def elapsed_time() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    workload, clock = (QWEN3_2B, elapsed_time) if arguments.gpu else (TINY, time.process_time)
    with tempfile.TemporaryDirectory() as folder:
        errors = gradient_errors(workload, folder)
        gc.collect()
        contenders = make_contenders(workload, folder)
    write = sys.stdout.write
    write(
        f"{workload.groups} groups of {SIZE}, prompts of {workload.prompt}, completions up to {workload.longest}, "
    )
    write(f"V {workload.model['vocab_size']}, ")
    if arguments.gpu:
        write(f"{torch.cuda.get_device_name()}, bfloat16, ")
    else:
        write(f"{torch.get_num_threads()} thread, {platform.machine()}, float32, ")
    write(f"torch {version('torch')}, trl {version('trl')}, {time.strftime('%Y-%m-%d')}\n\n")
    write("| step | error of the gradient |\n|---|---|\n")
    for name, error in errors.items():
        write(f"| {name} | {error:.1e} |\n")
    write("\n")
    sys.stdout.flush()
    assert max(errors.values()) < (1.2 * errors["TRL"] if arguments.gpu else 1e-4)
    write("| groups that do not vary | step | time | tokens/s | faster by |")
    write(" peak memory |\n|---|---|---|---|---|---|\n" if arguments.gpu else "\n|---|---|---|---|---|\n")
    for share in (0.0, workload.without_variance):
        batches = micro_batches(workload, share, contenders["TRL"].model.device)
        tokens = int(batches[0]["num_items_in_batch"])
        times: dict[str, list[float]] = {name: [] for name in contenders}
        peaks: dict[str, float] = {}
        for trainer in contenders.values():  # the first run compiles
            gradient(trainer, batches[:1])
        for _ in range(arguments.rounds):
            for name, trainer in contenders.items():
                if arguments.gpu:
                    torch.cuda.reset_peak_memory_stats()
                start = clock()
                gradient(trainer, batches)
                seconds = clock() - start
                if arguments.gpu:
                    peaks[name] = torch.cuda.max_memory_allocated() / 1024**3
                times[name].append(seconds)
        best = {name: min(seconds) for name, seconds in times.items()}
        for name, seconds in best.items():
            write(
                f"| {share:.0%} | {name} | {seconds:.3f} s | {tokens / seconds:.0f} | {best['TRL'] / seconds:.2f}x |"
            )
            write(f" {peaks[name]:.1f} GiB |\n" if arguments.gpu else "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
