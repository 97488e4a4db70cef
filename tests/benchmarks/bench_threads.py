"""How many threads a model on CPU wants: time of a training step and of sampling, by size and number of threads.

    python tests/benchmarks/bench_threads.py

Each number is the least of several runs, because other work on the machine only adds to it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from guerdon.sampling.cpu_sampler import sample
from guerdon.sampling.sampling import Sampling

SHAPES = ((128, 2, 512), (256, 4, 2048), (384, 6, 8192), (512, 8, 16384), (768, 12, 32768))
"""Width, layers, vocabulary."""


def least(run: Callable[[], object], times: int) -> tuple[float, float]:
    """Seconds on the clock and of the processors."""
    run()
    taken = []
    for _ in range(times):
        clock, busy = time.perf_counter(), time.process_time()
        run()
        taken.append((time.perf_counter() - clock, time.process_time() - busy))
    return min(taken)


def main() -> None:
    for width, layers, vocabulary in SHAPES:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 16,
            max_position_embeddings=512,
        )
        model: torch.nn.Module = LlamaForCausalLM(config)
        ids = torch.randint(1, 500, (16, 64))
        prompts = [[number + 1, 7, 8, 9] for number in range(8) for _ in range(8)]

        def step(model: torch.nn.Module = model, ids: torch.Tensor = ids) -> None:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
            model.zero_grad()

        def rollouts(model: torch.nn.Module = model, prompts: list[list[int]] = prompts) -> None:
            sample(model, prompts, Sampling(32))  # type: ignore[arg-type]

        times = 3 if width > 400 else 6
        parameters = sum(parameter.numel() for parameter in model.parameters())
        for threads in (1, 2):
            torch.set_num_threads(threads)
            (clock, busy), (drawn, drawing) = least(step, times), least(rollouts, times)
            sys.stdout.write(
                f"{parameters / 1e6:7.2f} M parameters, width {width}, {threads} threads: "
                f"step {clock * 1e3:7.1f} ms ({busy * 1e3:7.1f} of processors), "
                f"rollouts {drawn * 1e3:7.1f} ms ({drawing * 1e3:7.1f})\n"
            )


if __name__ == "__main__":
    main()
