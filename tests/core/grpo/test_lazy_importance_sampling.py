"""Old log-probabilities without a pass of their own: training goes the way it goes with TRL's trainer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.grpo import FusedGRPOTrainer, StepOptions

LENGTH, STEPS = 6, 4

Make = Callable[..., Any]


class Sampler:
    """In place of a vLLM server: completions, and log-probabilities that the policy does not quite agree with."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._generator = torch.Generator().manual_seed(11)

    def sync_weights(self) -> None:
        pass

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], **_: Any) -> tuple[Any, ...]:
        completions, log_probs = [], []
        for prompt in prompts:
            length = int(torch.randint(1, LENGTH + 1, (1,), generator=self._generator))
            completion = torch.randint(1, 257, (length,), generator=self._generator)
            tokens = torch.cat([torch.tensor(prompt), completion])[None]
            logits = self._trainer.model(input_ids=tokens, use_cache=True).logits[0, len(prompt) - 1 : -1]
            known = logits.log_softmax(-1).gather(1, completion[:, None])[:, 0]
            known += torch.randn(length, dtype=known.dtype, generator=self._generator) / 2
            known[torch.rand(length, generator=self._generator) < 0.1] = float("nan")  # vLLM leaves out some
            completions.append(completion.tolist())
            log_probs.append([[value] for value in known.tolist()])
        return None, completions, log_probs, None


@pytest.fixture(scope="module")
def make(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tiny_model()
    rows = Dataset.from_dict({"prompt": ["ab", "c", "def", "gh"] * 4})

    def build(kind: type[GRPOTrainer], vllm: str | None = None, lazy: bool = True, **options: Any) -> Any:
        config = GRPOConfig(
            **{
                "output_dir": str(tmp_path_factory.mktemp("trainer")),
                "per_device_train_batch_size": 4,
                "num_generations": 4,
                "max_completion_length": LENGTH,
                "max_steps": STEPS,
                "learning_rate": 0.05,
                "lr_scheduler_type": "constant",
                "optim": "sgd",
                "max_grad_norm": 0.0,
                "logging_steps": 1,
                "save_strategy": "no",
                "bf16": False,
                "gradient_checkpointing": False,
                "use_cpu": True,
                "disable_tqdm": True,
                **options,
            }
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float64")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        own: dict[str, Any] = (
            {"step_options": StepOptions(lazy_importance_sampling=lazy)} if kind is FusedGRPOTrainer else {}
        )

        def reward(completions: list[str], **_: Any) -> list[float | None]:
            return [sum(map(ord, completion)) % 7 / 7 for completion in completions]

        trainer: Any = kind(model, [reward], config, rows, processing_class=tokenizer, **own)
        trainer.remove_callback(transformers.PrinterCallback)
        if vllm is not None:
            trainer.use_vllm, trainer.vllm_importance_sampling_mode = True, vllm
            trainer.vllm_generation, trainer._last_loaded_step = Sampler(trainer), 0
            if own:
                trainer._spec = trainer._loss_spec(trainer.model)
        return trainer

    return build


def assert_same_weights(ours: Any, theirs: Any) -> None:
    for (name, weight), other in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-7, msg=partial("{}: {}".format, name))


def train(trainer: Any, **options: Any) -> None:
    torch.manual_seed(1)  # the same rollouts for all
    trainer.train(**options)


def passes(monkeypatch: pytest.MonkeyPatch, trainer: Any) -> list[bool]:
    """Trains, and gives for every pass of rollouts through the model whether it was made for its gradients."""
    made: list[bool] = []
    forward = trainer.model.model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("use_cache"):  # not the sampling
            made.append(torch.is_grad_enabled())
        return forward(*args, **kwargs)

    monkeypatch.setattr(trainer.model.model, "forward", watched)
    train(trainer)
    return made


SCHEDULES = {
    "aligned": ({}, 0),
    "iterations": ({"num_iterations": 2}, 0),
    "later steps": ({"gradient_accumulation_steps": 1, "steps_per_generation": 2}, 2),
    "amid accumulation": ({"gradient_accumulation_steps": 3, "steps_per_generation": 2}, 2),
    "both": ({"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2}, 2),
}
"""Options, and how many micro-batches of all steps an update leaves for later before they were trained on."""


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        *((schedule, {}) for schedule in SCHEDULES),
        ("both", {"beta": 0.1, "importance_sampling_level": "sequence"}),
    ],
)
def test_training_goes_as_with_trl(
    make: Make, monkeypatch: pytest.MonkeyPatch, schedule: str, options: dict[str, Any]
) -> None:
    settings, left_for_later = SCHEDULES[schedule]
    theirs, ours = (
        make(kind, epsilon=0.02, **settings, **options) for kind in (GRPOTrainer, FusedGRPOTrainer)
    )
    train(theirs)
    made = passes(monkeypatch, ours)

    assert_same_weights(ours, theirs)
    assert made.count(True) == STEPS * settings.get("gradient_accumulation_steps", 1)
    assert made.count(False) == left_for_later  # the reference is a model of its own


@pytest.mark.parametrize(
    ("mode", "schedule"),
    [
        ("sequence_mask", "aligned"),
        *((mode, "both") for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")),
    ],
)
def test_the_correction_for_the_sampler_is_trls(
    make: Make, monkeypatch: pytest.MonkeyPatch, mode: str, schedule: str
) -> None:
    settings, left_for_later = SCHEDULES[schedule]
    options: dict[str, Any] = {
        "vllm": mode,
        "vllm_importance_sampling_clip_min": 0.6,
        "vllm_importance_sampling_clip_max": 1.7,
        "scale_rewards": False,
        **settings,
    }
    theirs, ours = make(GRPOTrainer, **options), make(FusedGRPOTrainer, **options)
    train(theirs)
    made = passes(monkeypatch, ours)

    assert_same_weights(ours, theirs)
    assert made.count(False) == left_for_later
    logged = [entry for entry in ours.state.log_history if "sampling/importance_sampling_ratio/max" in entry]
    assert len(logged) == STEPS


def test_vespo_corrects_for_the_sampler_as_trl(make: Make) -> None:
    options = {"vllm": "token_truncate", "loss_type": "vespo"}
    theirs, ours = make(GRPOTrainer, **options), make(FusedGRPOTrainer, **options)
    for trainer in (theirs, ours):
        train(trainer)
    assert_same_weights(ours, theirs)


def test_resuming_amid_a_generation_goes_as_with_trl(make: Make) -> None:
    settings = {"num_iterations": 2, "gradient_accumulation_steps": 1, "steps_per_generation": 2}
    first = make(GRPOTrainer, save_strategy="steps", save_steps=1, max_steps=3, **settings)
    train(first)
    theirs, ours = (make(kind, epsilon=0.02, **settings) for kind in (GRPOTrainer, FusedGRPOTrainer))
    for trainer in (theirs, ours):
        train(trainer, resume_from_checkpoint=f"{first.args.output_dir}/checkpoint-3")
        assert trainer.state.global_step == STEPS
    assert_same_weights(ours, theirs)


def test_off_means_trls_way(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(FusedGRPOTrainer, lazy=False, num_iterations=2)
    made = passes(monkeypatch, trainer)
    assert made.count(False) == STEPS / 2  # one for each generation
