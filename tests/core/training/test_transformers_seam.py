"""What the engine leans on in transformers is there, at the lines that the table says, and its absence is reported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from datasets import Dataset
from torch.utils.data import RandomSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from guerdon.grpo import ResumableTrainer, transformers_seam
from guerdon.training.data import ResumableSampler

WRITTEN_FOR = "5.17.0"


class Resumable(ResumableTrainer, GRPOTrainer):
    pass


@pytest.fixture(scope="module")
def make(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Makes trainers."""
    folder = tiny_model()

    def build() -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trainer")),
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=2,
            max_steps=1,
            save_strategy="no",
            report_to=[],
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
        )
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)

        def reward(completions: list[str], **_: Any) -> list[float]:
            return [float(len(completion)) for completion in completions]

        rows = Dataset.from_dict({"prompt": ["ab"] * 8})
        return Resumable(model, [reward], config, rows, processing_class=tokenizer)

    return build


def test_lacking_in_this_version_is_nothing_in_training(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make()
    trainer.train()
    assert transformers_seam.lacking(trainer) == {}
    assert "differ from an unbroken one" not in caplog.text


def test_lacking_member_is_reported_when_training_begins(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Trainer, "_save", lambda self, folder: None)
    make().train()
    assert "in this version of transformers, _save takes folder" in caplog.text


def test_order_that_cannot_be_drawn_again_is_reported_and_left_alone(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make()
    assert isinstance(trainer._get_train_sampler(), ResumableSampler)
    sampler = RepeatSampler(range(8), mini_repeat_count=4, batch_size=2, seed=0)
    del sampler.generator
    monkeypatch.setattr(GRPOTrainer, "_get_train_sampler", lambda self, dataset=None: sampler)
    assert trainer._get_train_sampler() is sampler
    assert "may take the prompts in another order: of TRL's sampler, there is no generator" in caplog.text


def test_random_sampler_is_left_alone(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = RandomSampler(range(8))
    monkeypatch.setattr(GRPOTrainer, "_get_train_sampler", lambda self, dataset=None: sampler)
    assert make()._get_train_sampler() is sampler


@pytest.mark.skipif(
    transformers.__version__ != WRITTEN_FOR, reason="the lines are those of the version written for"
)
def test_the_table_names_the_lines_of_transformers() -> None:
    source = Path(inspect.getfile(Trainer)).read_text(encoding="utf-8").splitlines()
    for member in transformers_seam.METHODS:
        first = inspect.getsourcelines(inspect.unwrap(getattr(Trainer, member.name)))[1]
        assert first <= member.line <= first + 3, member
    for member in transformers_seam.KEPT:
        assert member.name in source[member.line - 1], member
