"""The GRPO loss with its head on CPU: time and peak memory against TRL, Liger and naive logits.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_loss.py

Process time of forward and backward, contenders in turn, the minimum of the rounds. Peak memory is each contender's own
process's, above what it held before (Linux). Liger takes part if it is there (pip install --no-deps liger-kernel).
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from torch.nn import functional as F  # noqa: N812, torch's own custom
from trl.trainer import utils as trl_utils

from guerdon.kernels import LossSpec, Tokens, fused_linear_grpo_loss, token_terms

SEQUENCES, LENGTH, HIDDEN, VOCABULARY = 8, 128, 576, 49152
SPEC = LossSpec(loss_type="dapo")


@dataclass
class Data:
    hidden: torch.Tensor
    weight: torch.Tensor
    target: torch.Tensor
    advantage: torch.Tensor
    tokens: Tokens


def make() -> Data:
    torch.manual_seed(0)
    count = SEQUENCES * LENGTH
    hidden = torch.randn(count, HIDDEN).requires_grad_()
    weight = (torch.randn(VOCABULARY, HIDDEN) / HIDDEN**0.5).requires_grad_()
    target = torch.randint(VOCABULARY, (count,))
    advantage = torch.randn(SEQUENCES)
    sequence = torch.arange(SEQUENCES).repeat_interleave(LENGTH)
    tokens = Tokens(advantage[sequence], torch.full((count,), 1 / count), sequence)
    return Data(hidden, weight, target, advantage, tokens)


def guerdon(data: Data) -> torch.Tensor:
    return fused_linear_grpo_loss(data.hidden, data.weight, data.target, data.tokens, SPEC).loss


def naive(data: Data) -> torch.Tensor:
    logits = F.linear(data.hidden, data.weight)
    log_probs = logits.float().log_softmax(-1)
    logp = log_probs.gather(1, data.target[:, None])[:, 0]
    with torch.no_grad():  # for the log, as TRL's and guerdon's; Liger has none
        entropy = -torch.linalg.vecdot(log_probs.exp(), log_probs)
    return token_terms(SPEC, logp, entropy, data.tokens).loss


def trl(data: Data) -> torch.Tensor:
    logp, entropy, *_ = trl_utils._ChunkedLogProbFunction.apply(  # type: ignore[no-untyped-call]
        data.hidden, data.weight, None, data.target, 1.0, trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0,
        ("log_probs", "entropy"),
    )  # fmt: skip
    return token_terms(SPEC, logp, entropy, data.tokens).loss


def liger(data: Data) -> torch.Tensor:
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOLoss

    loss = LigerFusedLinearGRPOLoss(beta=0.0, compiled=False, use_ref_model=False, loss_type="dapo")
    target = data.target.view(len(data.advantage), -1)
    result, _ = loss(
        data.hidden.view(*target.shape, -1),
        data.weight,
        target,
        torch.ones_like(target),
        data.advantage,
    )
    return cast(torch.Tensor, result)


CONTENDERS: dict[str, Callable[[Data], torch.Tensor]] = {
    "guerdon": guerdon,
    "TRL": trl,
    "naive logits": naive,
}
if importlib.util.find_spec("liger_kernel"):
    CONTENDERS["Liger"] = liger


def run(name: str, data: Data) -> tuple[float, torch.Tensor]:
    """Process seconds of one forward and backward, and the hidden states' gradient."""
    data.hidden.grad = data.weight.grad = None
    start = time.process_time()
    CONTENDERS[name](data).backward()
    seconds = time.process_time() - start
    assert data.hidden.grad is not None
    return seconds, data.hidden.grad


def highest_memory_kib() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def peak_mib(name: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--memory", name], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", metavar="CONTENDER")
    arguments = parser.parse_args()
    data = make()
    if arguments.memory:
        F.linear(data.hidden[:1], data.weight[:64])  # the libraries' own memory comes with the first product
        before = highest_memory_kib()
        run(arguments.memory, data)
        sys.stdout.write(str((highest_memory_kib() - before) / 1024))
        return
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    expected = run("naive logits", data)[1]
    for _ in range(arguments.rounds):
        for name in CONTENDERS:
            seconds, gradient = run(name, data)
            assert (gradient - expected).norm() < 1e-4 * expected.norm(), name
            times[name].append(seconds)
    best = {name: min(seconds) for name, seconds in times.items()}
    memory = {name: peak_mib(name) for name in CONTENDERS}
    write = sys.stdout.write
    write(f"N {SEQUENCES * LENGTH}, H {HIDDEN}, V {VOCABULARY}, float32, {torch.get_num_threads()} thread, ")
    write(
        f"{platform.machine()}, torch {version('torch')}, trl {version('trl')}, {time.strftime('%Y-%m-%d')}\n\n"
    )
    write(
        "| loss | process time | guerdon is faster by | peak memory | guerdon takes |\n|---|---|---|---|---|\n"
    )
    for name in CONTENDERS:
        write(
            f"| {name} | {best[name]:.2f} s | {best[name] / best['guerdon']:.2f}x | {memory[name]:.0f} MiB "
            f"| {memory['guerdon'] / memory[name]:.2f}x |\n"
        )


if __name__ == "__main__":
    main()
