"""What the engine leans on in TRL is there, at the lines that the table says, and its absence turns a part off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
import trl
from datasets import Dataset
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.grpo import FusedGRPOTrainer, trl_seam
from guerdon.training.seam import Member, absences

WRITTEN_FOR = "1.16.0"


@pytest.fixture(scope="module")
def make(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Makes trainers."""
    folder = tiny_model()

    def build() -> Any:
        config = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trainer")),
            per_device_train_batch_size=8,
            num_generations=4,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rows = Dataset.from_dict({"prompt": ["ab"] * 8})
        return FusedGRPOTrainer(model, [len], config, rows, processing_class=tokenizer)

    return build


def test_lacking_finds_all_members_in_this_version(make: Callable[[], Any]) -> None:
    assert trl_seam.lacking(make()) == {}
    assert trl_seam.orders_like_trl_1_16(make()._get_train_sampler())


@pytest.mark.skipif(trl.__version__ != WRITTEN_FOR, reason="the lines are those of the version written for")
def test_the_table_names_the_lines_of_trl() -> None:
    source = Path(grpo_trainer.__file__).read_text(encoding="utf-8").splitlines()
    for member in trl_seam.METHODS:
        method = inspect.unwrap(getattr(GRPOTrainer, member.name))
        first = inspect.getsourcelines(method)[1]
        assert first <= member.line <= first + 3, member
    for member in (*trl_seam.ATTRIBUTES, *trl_seam.MODULE):
        assert member.name in source[member.line - 1], member


@pytest.mark.parametrize(
    ("name", "part", "attribute"),
    [
        ("_compute_loss", "fused_loss", "_fused"),
        ("_generate_and_score_completions", "lazy_importance_sampling", "_lazy"),
    ],
)
def test_a_method_that_takes_something_else_turns_its_part_off(
    make: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    part: str,
    attribute: str,
) -> None:
    assert getattr(make(), attribute)
    monkeypatch.setattr(GRPOTrainer, name, lambda self, batch: None)
    assert not getattr(make(), attribute)
    assert f"{part} is off, TRL's own way is taken: in this version of TRL, {name} takes batch" in caplog.text


def test_absences_names_what_is_not_there() -> None:
    members = [Member("upper", "a", "shouts", 1), Member("shout", "b", "shouts", 2)]
    assert absences("text", members) == {"b": "there is no shout (shouts)"}


def test_without_old_logps_restores_trls_options(make: Callable[[], Any]) -> None:
    trainer = make()
    before = trainer.args.gradient_accumulation_steps, trainer.vllm_importance_sampling_correction
    with pytest.raises(RuntimeError), trl_seam.without_old_logps(trainer):
        raise RuntimeError
    assert (
        trainer.args.gradient_accumulation_steps,
        trainer.vllm_importance_sampling_correction,
    ) == before
