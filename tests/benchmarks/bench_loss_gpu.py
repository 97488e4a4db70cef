"""The GRPO loss with its head on a CUDA GPU: time and peak memory against the peers and against bare matrix products.

    python tests/benchmarks/bench_loss_gpu.py

bfloat16, forward and backward, contenders in turn, medians. Before the times, the gradients of each contender on 1,024
tokens against float32. Liger takes part if it is there (pip install --no-deps liger-kernel).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import bench_loss
import torch
from bench_loss import Data
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, torch's own custom

from guerdon.kernels import Tokens, fused_linear_grpo_loss

COUNTS = (8192, 16384, 32768)
HEADS = ((1024, 151_936), (2048, 151_936), (4096, 128_256))
SMALL_TILE_MB = 512
TILE_ROWS = 8192
LENGTH = 1024
CHECKED = 1024


def make(count: int, hidden: int, vocabulary: int, *, frozen: bool = False) -> Data:
    torch.manual_seed(0)
    device: dict[str, Any] = {"device": "cuda"}
    sequence = torch.arange(count // LENGTH, **device).repeat_interleave(LENGTH)
    advantage = torch.randn(count // LENGTH, **device)
    head = torch.randn(vocabulary, hidden, dtype=torch.bfloat16, **device) / hidden**0.5
    return Data(
        torch.randn(count, hidden, dtype=torch.bfloat16, **device).requires_grad_(),
        head.requires_grad_(not frozen),
        torch.randint(vocabulary, (count,), **device),
        advantage,
        Tokens(advantage[sequence], torch.full((count,), 1 / count, **device), sequence),
    )


def bare_products(data: Data) -> None:
    """What every head does: logits, and the two gradients."""
    hidden, weight = data.hidden.detach(), data.weight.detach()
    total = torch.zeros_like(weight, dtype=torch.float32)
    for rows in hidden.split(TILE_ROWS):
        logits = rows @ weight.t()
        torch.mm(logits, weight)
        torch.addmm(total, logits.t(), rows, out_dtype=torch.float32, out=total)


def guerdon_small_tile(data: Data) -> Tensor:
    return fused_linear_grpo_loss(
        data.hidden, data.weight, data.target, data.tokens, bench_loss.SPEC, tile_budget_mb=SMALL_TILE_MB
    ).loss


def cross_entropy(data: Data) -> Tensor:
    """Another loss, as far as torch's own fused head goes."""
    return F.linear_cross_entropy(data.hidden, data.weight, data.target)


LOSSES: dict[str, Callable[[Data], Tensor]] = {
    "guerdon": bench_loss.guerdon,
    f"guerdon, tiles of {SMALL_TILE_MB} MiB": guerdon_small_tile,
    "TRL": bench_loss.trl,
    "naive logits": bench_loss.naive,
}
PEERS: dict[str, Callable[[Data], Tensor]] = {}
if "Liger" in bench_loss.CONTENDERS:
    PEERS["Liger"] = bench_loss.liger
if hasattr(F, "linear_cross_entropy"):
    PEERS["F.linear_cross_entropy"] = cross_entropy


def trained(loss: Callable[[Data], Tensor]) -> Callable[[Data], None]:
    def run(data: Data) -> None:
        data.hidden.grad = data.weight.grad = None
        loss(data).backward()

    return run


def with_tf32(run: Callable[[Data], None]) -> Callable[[Data], None]:
    def faster(data: Data) -> None:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            run(data)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    return faster


def scored(loss: Callable[[Data], Tensor]) -> Callable[[Data], None]:
    def run(data: Data) -> None:
        with torch.no_grad():
            loss(data)

    return run


def measure(
    contenders: dict[str, Callable[[Data], None]], data: Data, rounds: int
) -> dict[str, tuple[float, float]]:
    """Milliseconds and peak MiB of each; of those that run out of memory, nothing."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    peaks = {}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            data.hidden.grad = data.weight.grad = None
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            try:
                start.record()
                run(data)
                end.record()
            except torch.OutOfMemoryError:
                continue
            torch.cuda.synchronize()
            peaks[name] = (torch.cuda.max_memory_allocated() - before) / 1024**2
            if turn:  # the first compiles
                times[name].append(start.elapsed_time(end))
    return {name: (statistics.median(times[name]), peaks[name]) for name in contenders if times[name]}


def error(own: Tensor, true: Tensor) -> float:
    """Of a gradient, relative to its size."""
    assert own.grad is not None
    assert true.grad is not None
    return float((own.grad.float() - true.grad).norm() / true.grad.norm())


def gradient_errors(hidden: int, vocabulary: int) -> dict[str, tuple[float, float]]:
    """Of each loss, the relative error of its gradients against float32 on the same numbers."""
    narrow = make(CHECKED, hidden, vocabulary)
    wide = Data(
        narrow.hidden.detach().float().requires_grad_(),
        narrow.weight.detach().float().requires_grad_(),
        narrow.target,
        narrow.advantage,
        narrow.tokens,
    )
    trained(bench_loss.naive)(wide)
    errors = {}
    for name, loss in LOSSES.items():
        trained(loss)(narrow)
        errors[name] = error(narrow.hidden, wide.hidden), error(narrow.weight, wide.weight)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    write = sys.stdout.write
    write(f"{torch.cuda.get_device_name()}, bfloat16, torch {version('torch')}, triton {version('triton')}, ")
    write(f"trl {version('trl')}, {time.strftime('%Y-%m-%d')}\n\n")
    write("| H, V | loss | error of the hidden states' gradient | of the head's |\n|---|---|---|---|\n")
    for hidden, vocabulary in HEADS:
        for name, errors in gradient_errors(hidden, vocabulary).items():
            write(f"| {hidden}, {vocabulary} | {name} | {errors[0]:.1e} | {errors[1]:.1e} |\n")
    everything = {name: trained(loss) for name, loss in (LOSSES | PEERS).items()}
    if "Liger" in PEERS:
        everything["Liger, TF32"] = with_tf32(everything["Liger"])
    everything["three bare products"] = bare_products
    ours = {name: LOSSES[name] for name in ("guerdon", "TRL")}
    tables = (
        ("forward and backward", everything, False),
        ("frozen head", {name: trained(loss) for name, loss in ours.items()}, True),
        ("no gradient", {name: scored(loss) for name, loss in ours.items()}, False),
    )
    write(
        "\n| what | H, V | N | loss | ms | guerdon is faster by | peak memory |\n|---|---|---|---|---|---|---|\n"
    )
    for what, contenders, frozen in tables:
        for hidden, vocabulary in HEADS:
            for count in COUNTS:
                results = measure(
                    contenders, make(count, hidden, vocabulary, frozen=frozen), arguments.rounds
                )
                best = results["guerdon"][0]
                for name in contenders:
                    write(f"| {what} | {hidden}, {vocabulary} | {count} | {name} | ")
                    if name in results:
                        ms, mib = results[name]
                        write(f"{ms:.1f} | {ms / best:.2f}x | {mib:.0f} MiB |\n")
                    else:
                        write("out of memory | | |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
