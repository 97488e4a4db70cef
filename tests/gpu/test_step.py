"""A training step on a card: its attention kernel, its waits for the card, its precision and its memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.grpo import FusedGRPOTrainer
from guerdon.grpo.flat_attention import FlatAttention, choose_kernel

pytestmark = pytest.mark.gpu

MOST_WAITS = 12
"""TRL's own step."""


def characters(completions: list[str], **_: Any) -> list[float | None]:
    return [float(len(completion)) for completion in completions]


@pytest.fixture
def make(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Makes trainers of one model with grouped heads, in float32 weights."""
    folder = tiny_model("qwen3", hidden_size=128, head_dim=64)

    def build(kind: type[GRPOTrainer], **options: Any) -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path), per_device_train_batch_size=8, num_generations=4,
            max_completion_length=200, **options,
        )  # fmt: skip
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows = Dataset.from_dict({"prompt": ["ab"] * 8})
        trainer: Any = kind(model, [characters], config, rows, processing_class=tokenizer)
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    return build


def micro_batch(times: int = 1) -> dict[str, Any]:
    """Groups of four on prompts of 40 and 17 tokens, completions of 1 to 200; every second group has no variance."""
    torch.manual_seed(3)
    rows = 8 * times
    lengths = torch.tensor([200, 1, 64, 7, 20, 9, 150, 33]).repeat(times)
    mask = (torch.arange(200) < lengths[:, None]).long()
    prompt_mask = torch.ones(rows, 40, dtype=torch.long)
    prompt_mask[4::8, :23] = 0
    prompt_mask[5::8, :23] = prompt_mask[6::8, :23] = prompt_mask[7::8, :23] = 0
    batch = {
        "prompt_ids": torch.randint(1, 257, (rows // 4, 40)).repeat_interleave(4, 0) * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(1, 257, (rows, 200)) * mask,
        "completion_mask": mask,
        "advantages": torch.tensor([1.2, -0.4, -1.1, 0.3, 0.0, 0.0, 0.0, 0.0]).repeat(times),
        "old_per_token_logps": -5.5 + torch.rand(rows, 200),
        "num_items_in_batch": mask.sum(),
    }
    return {name: value.cuda() for name, value in batch.items()}


def gradient(trainer: Any, batch: dict[str, Any]) -> torch.Tensor:
    trainer.model.zero_grad()
    with trainer.accelerator.autocast():
        loss = trainer._compute_loss(trainer.model, dict(batch))
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])


def test_step_in_half_precision_takes_flash_attention(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def spy(self: FlatAttention, *states: Any) -> Any:
        taken.append(choose_kernel(states[0].dtype, states[0].device, states[0].shape[-1]))
        return original(self, *states)

    original = FlatAttention.__call__
    monkeypatch.setattr(FlatAttention, "__call__", spy)
    trainer = make(FusedGRPOTrainer, bf16=True)
    activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        gradient(trainer, micro_batch())
    assert set(taken) == {"flash"}
    kernels = {event.key for event in profile.key_averages()}
    assert any("flash" in name for name in kernels), sorted(kernels)
    assert any("_gradient_kernel" in name for name in kernels), sorted(kernels)


@pytest.mark.parametrize("times", [1, 4])
def test_step_waits_for_the_card_at_most_as_often_as_trls(make: Callable[..., Any], times: int) -> None:
    trainer, batch = make(FusedGRPOTrainer, bf16=True), micro_batch(times)
    gradient(trainer, batch)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gradient(trainer, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [f"{w.filename}:{w.lineno}" for w in caught if "synchronizing" in str(w.message)]
    assert len(waits) <= MOST_WAITS, waits


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_step_in_half_precision_errs_no_more_than_trls(make: Callable[..., Any], half: str) -> None:
    batch = micro_batch()
    exact = gradient(make(GRPOTrainer, bf16=False), batch)
    ours, theirs = (
        float((gradient(make(kind, **{"bf16": False, half: True}), batch) - exact).norm() / exact.norm())
        for kind in (FusedGRPOTrainer, GRPOTrainer)
    )
    assert 1e-4 < theirs < 0.1
    assert ours < 1.2 * theirs


def test_step_in_float32_is_trls(make: Callable[..., Any]) -> None:
    batch = micro_batch()
    ours, theirs = (gradient(make(kind, bf16=False), batch) for kind in (FusedGRPOTrainer, GRPOTrainer))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_flash_attention_gives_what_padded_sequences_give() -> None:
    prompts, lengths, prompt_of = [300, 17], [700, 0, 65, 1], [0, 0, 1, 1]
    attention = FlatAttention(prompts, lengths, prompt_of)
    torch.manual_seed(0)
    query, key, value = inputs = [
        torch.randn(heads, 1083, 128, dtype=torch.bfloat16, device="cuda", requires_grad=True)
        for heads in (4, 2, 2)
    ]
    flat, padded = (
        attend(query, key, value, 0.3) for attend in (attention.attend_flat, attention.attend_padded)
    )
    torch.testing.assert_close(flat, padded, rtol=0.02, atol=0.02)
    weight = torch.randn_like(flat)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), inputs) for out in (flat, padded))
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() < 0.02 * other.norm()
