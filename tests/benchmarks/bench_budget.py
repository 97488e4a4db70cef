"""One long completion among short ones: a micro-batch with and without a budget of tokens, in time and peak memory.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_budget.py [--quantile 0.2]

A 4-layer Qwen3 in float32, two groups of eight completions, one of 2,048 tokens and the others of 64. Each row of the
table has a process of its own, whose peak is measured above the one before the step. Times are process times of loss
and backward pass, the minimum of the rounds. ``--quantile`` is the ``top_entropy_quantile``, for which parts need one
more pass.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version

import torch
from bench_step import SIZE, TINY, gradient, make_model, make_trainer

from guerdon.grpo import FusedGRPOTrainer, StepOptions

LONG, SHORT = 2048, 64
WORKLOAD = replace(TINY, groups=2, groups_at_once=2, longest=LONG)
ROWS = WORKLOAD.groups * SIZE


def batch(long: int) -> dict[str, torch.Tensor]:
    """One completion of so many tokens among short ones. As TRL's, all are padded to the longest."""
    torch.manual_seed(1)
    lengths = torch.full((ROWS,), SHORT)
    lengths[5] = long
    mask = (torch.arange(long) < lengths[:, None]).long()
    vocabulary = WORKLOAD.model["vocab_size"]
    prompts = torch.randint(1, vocabulary, (WORKLOAD.groups, WORKLOAD.prompt)).repeat_interleave(SIZE, 0)
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": torch.randint(1, vocabulary, mask.shape) * mask,
        "completion_mask": mask,
        "advantages": torch.randn(ROWS),
        "num_items_in_batch": mask.sum(),
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(
    flat: bool, budget: int | None, quantile: float, rounds: int
) -> tuple[float, float, torch.Tensor]:
    """Return the seconds, the peak above that before the step in MiB, and the gradient."""
    options = StepOptions(pack_sequences=flat, max_tokens_per_micro_batch=budget)
    with tempfile.TemporaryDirectory() as folder:
        workload = replace(WORKLOAD, options={**WORKLOAD.options, "top_entropy_quantile": quantile})
        model = make_model(workload)
        trainer = make_trainer(FusedGRPOTrainer, model, workload, folder, step_options=options)
    gradient(trainer, [batch(2)])  # the gradients' and the libraries' memory is there before
    before, times = peak_mib(), []
    for _ in range(rounds):
        start = time.process_time()
        made = gradient(trainer, [batch(LONG)])
        times.append(time.process_time() - start)
    return min(times), peak_mib() - before, made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=2304)
    parser.add_argument("--quantile", type=float, default=1.0)
    arguments = parser.parse_args()
    write = sys.stdout.write
    write(
        f"{ROWS} completions, one of {LONG} tokens and the others of {SHORT}, prompts of {WORKLOAD.prompt}, "
    )
    write(
        f"{torch.get_num_threads()} thread, float32, torch {version('torch')}, {time.strftime('%Y-%m-%d')}\n\n"
    )
    write(
        "| layout | budget | time | faster by | peak memory | error of the gradient |\n|---|---|---|---|---|---|\n"
    )
    spawn = multiprocessing.get_context("spawn")
    for flat in (False, True):
        first: tuple[float, float, torch.Tensor] | None = None
        for budget in (None, arguments.budget):
            with spawn.Pool(1) as pool:
                made = pool.apply(measured, (flat, budget, arguments.quantile, arguments.rounds))
            seconds, peak, gradients = made
            first = first or made
            error = float((gradients - first[2]).norm() / first[2].norm())
            assert error < 1e-4
            write(
                f"| {'flat' if flat else 'padded'} | {budget or ''} | {seconds:.2f} s | {first[0] / seconds:.2f}x | "
                f"{peak:.0f} MiB | {error:.0e} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
