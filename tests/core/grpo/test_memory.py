"""The memory of a step on a GPU, computed without one, against measured peaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from peft import LoraConfig
from transformers import LlamaConfig, PretrainedConfig, Qwen3Config

from guerdon.grpo.memory import GroupStep, Rollouts, group_step_memory
from guerdon.training.memory import cache_bytes

GIB = 1024**3
QWEN3_2B = Qwen3Config(
    vocab_size=151_936,
    hidden_size=2048,
    intermediate_size=6144,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    tie_word_embeddings=True,
)
LARGEST_GROUP = [4096, 1143, 743, 472, 1390, 1041, 1997, 4096]
"""Of the batch of tests/benchmarks/bench_step.py."""
SMALL = LlamaConfig(
    vocab_size=2000,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=False,
)
SHARED = Rollouts([100], [300] * 4, [0] * 4)
NO_STATE = partial(torch.optim.SGD, foreach=False)
"""The benchmark computes gradients alone. A fused step has no fake kernel, so torch would update 2B real weights."""
ADAM = GroupStep(optimizer=partial(torch.optim.AdamW, fused=True))


def parameters(config: PretrainedConfig) -> int:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())


@pytest.mark.parametrize(
    ("shared", "packed", "measured"),
    [
        (True, True, 23.3),
        pytest.param(False, True, 24.1, marks=pytest.mark.slow),
        (True, False, 28.7),
    ],
)
def test_step_memory_of_a_2b_model_is_what_an_h200_took(shared: bool, packed: bool, measured: float) -> None:
    prompts = [512] * (1 if shared else 8)
    rollouts = Rollouts(prompts, LARGEST_GROUP, [0] * 8 if shared else list(range(8)))
    settings = GroupStep(optimizer=NO_STATE, accumulates=True, packed=packed, device_bytes=139 * GIB)
    assert group_step_memory(QWEN3_2B, rollouts, settings).total / GIB == pytest.approx(measured, rel=0.02)


def test_step_memory_parts_of_full_training_are_the_models() -> None:
    memory = group_step_memory(SMALL, SHARED, ADAM)
    count = parameters(SMALL)
    assert memory.weights == pytest.approx(4 * count, rel=0.001)
    assert memory.gradients == 4 * count
    assert memory.optimizer == pytest.approx(8 * count, rel=0.001)


def test_step_memory_of_adapters_trains_the_adapters_alone() -> None:
    adapters = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    memory = group_step_memory(SMALL, SHARED, replace(ADAM, adapters=adapters, dtype=torch.bfloat16))
    full = group_step_memory(SMALL, SHARED, ADAM)
    assert memory.gradients < full.gradients / 10
    assert memory.optimizer == pytest.approx(2 * memory.gradients, rel=0.01)
    assert memory.weights == pytest.approx(2 * parameters(SMALL) + memory.gradients, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: replace(settings, checkpointing=False),
        lambda settings: replace(settings, accumulates=True),
        lambda settings: replace(settings, autocast=None),
        lambda settings: replace(settings, packed=False),
    ],
    ids=["no checkpointing", "several micro-batches", "float32", "padded"],
)
def test_step_memory_grows_with_what_is_kept(change: Callable[[GroupStep], GroupStep]) -> None:
    rollouts = Rollouts([100], [300, 40, 40, 40], [0] * 4)
    assert (
        group_step_memory(SMALL, rollouts, change(ADAM)).total
        > group_step_memory(SMALL, rollouts, ADAM).total
    )


def test_step_memory_does_not_depend_on_how_completions_share_a_sum() -> None:
    uneven = group_step_memory(SMALL, Rollouts([100], [100, 500, 200, 400], [0] * 4), ADAM)
    assert uneven == group_step_memory(SMALL, SHARED, ADAM)


def test_cache_bytes_are_those_of_all_layers_keys_and_values() -> None:
    heads, width, layers = 2, 16, 2
    narrow = replace(ADAM, dtype=torch.bfloat16, autocast=None)
    assert cache_bytes(SMALL, 1000, narrow) == 2 * 1000 * layers * heads * width * 2
    assert cache_bytes(SMALL, 1000, ADAM) == 2 * 1000 * layers * heads * width * 4
