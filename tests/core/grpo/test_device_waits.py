"""A micro-batch is read once, and its metrics are fetched once: nothing else waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from guerdon.grpo import FusedGRPOTrainer, StepOptions

from .test_micro_batch import micro_batch
from .waits import counted_waits

MOST = 12
"""TRL's own step."""


@pytest.fixture(scope="module")
def trainer_with(
    tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Makes trainers in float32."""
    folder = tiny_model()

    def make(step_options: StepOptions, **options: Any) -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trainer")),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=9,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            **options,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows = Dataset.from_dict({"prompt": ["ab"] * 8})
        trainer: Any = FusedGRPOTrainer(
            model, [len], config, rows, processing_class=tokenizer, step_options=step_options
        )
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    return make


def repeated(batch: dict[str, Any], times: int) -> dict[str, Any]:
    """The batch so many times, in float32."""
    more = {
        name: value.repeat(times, *[1] * (value.dim() - 1)) if value.dim() else value * times
        for name, value in batch.items()
    }
    return {name: value.float() if value.is_floating_point() else value for name, value in more.items()}


@pytest.mark.parametrize(
    ("options", "step_options"),
    [
        ({}, StepOptions()),
        ({}, StepOptions(pack_sequences=False)),
        ({}, StepOptions(share_prefix=False, skip_zero_variance=False)),
        ({"importance_sampling_level": "sequence", "loss_type": "grpo"}, StepOptions()),
        ({"loss_type": "vespo"}, StepOptions()),
        ({"loss_type": "cispo", "entropy_coef": 0.1}, StepOptions()),
        ({"entropy_coef": 0.1, "top_entropy_quantile": 0.5}, StepOptions()),
        ({"off_policy_mask_threshold": 0.1}, StepOptions()),
    ],
    ids=str,
)
def test_a_micro_batch_waits_for_the_device_as_often_whatever_its_size(
    trainer_with: Callable[..., Any], options: dict[str, Any], step_options: StepOptions
) -> None:
    trainer = trainer_with(step_options, **options)
    counts = []
    for times in (1, 4):
        batch = repeated(micro_batch(old=True), times)
        with counted_waits() as waits:
            torch.autograd.backward(trainer._compute_loss(trainer.model, batch))
        assert waits["cpu"] == 1  # the masks, by all rows together
        assert waits["tolist"] == 1  # the metrics
        counts.append(sum(waits.values()))
        assert counts[-1] <= MOST, waits
    assert counts[0] == counts[1]


def test_comparing_the_entropies_of_parts_waits_as_often_whatever_their_size(
    trainer_with: Callable[..., Any],
) -> None:
    trainer = trainer_with(StepOptions(), top_entropy_quantile=0.5)
    counts = []
    for times in (1, 4):
        batch = repeated(micro_batch(old=True), times)
        trainer._options = StepOptions()
        (whole,) = trainer._make_parts(batch)
        trainer._options = StepOptions(max_tokens_per_micro_batch=2 * whole.size // 3)
        assert len(trainer._make_parts(batch)) == 2
        with counted_waits() as waits:
            torch.autograd.backward(trainer._compute_loss(trainer.model, batch))
        counts.append(sum(waits.values()))
        assert counts[-1] <= MOST, waits
    assert counts[0] == counts[1]
