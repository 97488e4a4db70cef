"""Attention on padded blocks: what one long completion among short ones costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_attention.py

A flat batch of 16 prompts of 64 tokens, each with one completion. Forward and backward pass on CPU, 8 heads of 32 and
4 key heads, process time, the minimum of the rounds.
"""

from __future__ import annotations

import argparse
import time

import click
import torch

from guerdon.grpo.flat_attention import FlatAttention

PROMPT, LONG, SHORT = 64, 2000, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    batches = {
        "16 long completions": [LONG] * 16,
        "1 long completion and 15 short ones": [LONG] + [SHORT] * 15,
        "the long completion alone": [LONG],
    }
    times = {name: min(seconds(lengths) for _ in range(rounds)) for name, lengths in batches.items()}
    most, slowest = next(iter(batches.values())), max(times.values())
    click.echo("| batch | tokens | fewer by | process time | faster by |")
    click.echo("| --- | --- | --- | --- | --- |")
    for name, lengths in batches.items():
        fewer = tokens(most) / tokens(lengths)
        click.echo(
            f"| {name} | {tokens(lengths):,} | {fewer:.1f}x | {times[name]:.2f} s | {slowest / times[name]:.1f}x |"
        )


def tokens(lengths: list[int]) -> int:
    return PROMPT * len(lengths) + sum(lengths)


def seconds(lengths: list[int]) -> float:
    torch.manual_seed(0)
    count = len(lengths)
    attention = FlatAttention([PROMPT] * count, lengths, list(range(count)))
    query, key, value = (torch.randn(heads, tokens(lengths), 32, requires_grad=True) for heads in (8, 4, 4))
    started = time.process_time()
    torch.autograd.backward(attention.attend_padded(query, key, value, None).sum())
    return time.process_time() - started


if __name__ == "__main__":
    main()
