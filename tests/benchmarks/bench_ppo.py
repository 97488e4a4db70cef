"""What a GRPO step costs beside a PPO step, on CPU: the same policy, prompts, rewards and number of rollouts.

    guerdon run r1-zero-mini
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_ppo.py runs/r1-zero-mini/stages/base/output

Both are written here, in plain torch, and share all but what PPO adds: a critic of the policy's size, generalized
advantage estimation, the value loss. Both ask the same reference model. A batch is used for one update, so old
log-probabilities and values are those of the training forward: PPO at its cheapest. Process time, contenders in turn.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, torch's own custom
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from guerdon.sampling.cpu_sampler import sample
from guerdon.sampling.sampling import Sampling
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.verifiers.format import Format
from guerdon_plugins.verifiers.math import MathVerifier

PROMPTS, GROUP, LONGEST = 16, 8, 64
LEARNING_RATE, CRITIC_RATE, BETA, CLIP, GAE_LAMBDA = 6e-4, 1e-3, 0.01, 0.2, 0.95
math, tags = MathVerifier(extraction="auto"), Format(tags=["think", "answer"])


def number(result: Any) -> float:
    return float(getattr(result, "value", result) or 0.0)


@dataclass
class Batch:
    """Rollouts [rows, ...]: prompts padded on the left, completions on the right."""

    tokens: Tensor
    attention: Tensor
    mask: Tensor
    """The completions' tokens [rows, LONGEST]."""
    reward: Tensor
    accuracy: float


class Critic(nn.Module):
    """A value for each token, by a model of the policy's size."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.backbone = AutoModel.from_pretrained(base)
        self.head = nn.Linear(self.backbone.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, batch: Batch) -> Tensor:
        hidden = self.backbone(input_ids=batch.tokens, attention_mask=batch.attention).last_hidden_state
        values: Tensor = self.head(hidden[:, -LONGEST - 1 : -1])[:, :, 0]
        return values


def log_probs(model: Any, batch: Batch) -> Tensor:
    logits = model(
        input_ids=batch.tokens, attention_mask=batch.attention, logits_to_keep=LONGEST + 1, use_cache=False
    ).logits[:, :-1]
    chosen = batch.tokens[:, -LONGEST:, None]
    return torch.gather(logits.log_softmax(-1), 2, chosen)[:, :, 0]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum()


@dataclass
class Contender:
    """A policy in training, and what it has cost so far."""

    name: str
    base: str
    steps: int
    rollout_seconds: list[float] = field(default_factory=list)
    update_seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(self.base)
        self.policy = AutoModelForCausalLM.from_pretrained(self.base)
        self.reference = AutoModelForCausalLM.from_pretrained(self.base).requires_grad_(False)
        self.critic = Critic(self.base) if self.name == "PPO" else None
        groups = [{"params": list(self.policy.parameters()), "lr": LEARNING_RATE}]
        if self.critic is not None:
            groups.append({"params": list(self.critic.parameters()), "lr": CRITIC_RATE})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps)

    def step(self, rows: Sequence[Any]) -> None:
        start = time.process_time()
        batch = self.roll_out(rows)
        sampled = time.process_time()
        self.optimizer.zero_grad()
        (self.grpo_loss(batch) if self.critic is None else self.ppo_loss(batch)).backward()
        for group in self.optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.rollout_seconds.append(sampled - start)
        self.update_seconds.append(time.process_time() - sampled)
        self.accuracies.append(batch.accuracy)

    @torch.no_grad()
    def roll_out(self, rows: Sequence[Any]) -> Batch:
        rows = [row for row in rows for _ in range(GROUP)]
        prompts: list[Any] = [
            self.tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            for row in rows
        ]
        completions = sample(self.policy, prompts, Sampling(LONGEST, [self.tokenizer.eos_token_id]))
        texts = self.tokenizer.batch_decode(completions, skip_special_tokens=True)
        right = [number(math(text, row["reference"])) for text, row in zip(texts, rows, strict=True)]
        reward = torch.tensor([r + 0.5 * number(tags(text)) for r, text in zip(right, texts, strict=True)])
        longest = max(map(len, prompts))
        pairs = list(zip(prompts, completions, strict=True))
        tokens = [[0] * (longest - len(p)) + p + c + [0] * (LONGEST - len(c)) for p, c in pairs]
        attention = [
            [0] * (longest - len(p)) + [1] * (len(p) + len(c)) + [0] * (LONGEST - len(c)) for p, c in pairs
        ]
        mask = torch.tensor(attention)[:, -LONGEST:]
        return Batch(torch.tensor(tokens), torch.tensor(attention), mask, reward, mean(right))

    def grpo_loss(self, batch: Batch) -> Tensor:
        groups = batch.reward.view(-1, GROUP)
        advantage = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
        logp = log_probs(self.policy, batch)
        with torch.no_grad():
            gap = log_probs(self.reference, batch)
        gap = gap - logp
        return surrogate(logp, advantage.view(-1, 1), batch.mask) + BETA * masked_mean(
            gap.exp() - gap - 1, batch.mask
        )

    def ppo_loss(self, batch: Batch) -> Tensor:
        assert self.critic is not None
        logp, values, mask = log_probs(self.policy, batch), self.critic(batch), batch.mask
        with torch.no_grad():
            rewards = -BETA * (logp - log_probs(self.reference, batch)) * mask
            rewards[torch.arange(len(mask)), mask.sum(1) - 1] += batch.reward
            advantage = gae(rewards, values * mask)
            returns = advantage + values
            spread = masked_mean((advantage - masked_mean(advantage, mask)) ** 2, mask).sqrt()
            advantage = (advantage - masked_mean(advantage, mask)) / (spread + 1e-8)
        return surrogate(logp, advantage, mask) + 0.5 * masked_mean((values - returns) ** 2, mask)


def surrogate(logp: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    ratio = (logp - logp.detach()).exp()
    return -masked_mean(torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage), mask)


def gae(rewards: Tensor, values: Tensor) -> Tensor:
    """Advantages [rows, longest] without discount; rewards and values are 0 behind the end."""
    advantage, following = torch.zeros_like(rewards), torch.zeros(len(rewards))
    next_values = F.pad(values, (0, 1))[:, 1:]
    for place in reversed(range(rewards.shape[1])):
        surprise = rewards[:, place] + next_values[:, place] - values[:, place]
        following = surprise + GAE_LAMBDA * following
        advantage[:, place] = following
    return advantage


def highest_memory_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def peak_mib(name: str, base: str) -> float:
    command = [sys.executable, __file__, base, "--memory", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", help="the folder of the miniature's base model")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--memory", metavar="CONTENDER")
    arguments = parser.parse_args()
    disable_progress_bar()
    rows = list(islice(Arithmetic(), PROMPTS * arguments.steps))
    if arguments.memory:
        before = highest_memory_mib()
        contender = Contender(arguments.memory, arguments.base, arguments.steps)
        for _ in range(2):
            contender.step(rows[:PROMPTS])
        sys.stdout.write(str(highest_memory_mib() - before))
        return
    contenders = [Contender(name, arguments.base, arguments.steps) for name in ("GRPO", "PPO")]
    for step in range(arguments.steps):
        for contender in contenders:
            torch.manual_seed(step)
            contender.step(rows[PROMPTS * step : PROMPTS * (step + 1)])
    write = sys.stdout.write
    write(f"{arguments.steps} steps of {PROMPTS} x {GROUP} rollouts, {torch.get_num_threads()} thread, ")
    write(f"{platform.machine()}, torch {version('torch')}, {time.strftime('%Y-%m-%d')}\n\n")
    write(
        "| | rollouts, s per step | update, s per step | peak memory | accuracy, first and last tenth | CPU s "
    )
    write("| accuracy gained per CPU minute |\n|---|---|---|---|---|---|---|\n")
    tenth = max(1, arguments.steps // 10)
    for c in contenders:
        first, last = mean(c.accuracies[:tenth]), mean(c.accuracies[-tenth:])
        total = sum(c.rollout_seconds) + sum(c.update_seconds)
        write(f"| {c.name} | {mean(c.rollout_seconds):.2f} | {mean(c.update_seconds):.2f} ")
        write(f"| {peak_mib(c.name, arguments.base):.0f} MiB | {first:.3f}, {last:.3f} | {total:.0f} ")
        write(f"| {60 * (last - first) / total:.3f} |\n")


if __name__ == "__main__":
    main()
