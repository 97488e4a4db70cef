"""A budget of tokens: parts of a micro-batch train as the whole does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.errors import UsageError
from guerdon.grpo import FusedGRPOTrainer, StepOptions
from guerdon.grpo.token_budget import flat_parts, padded_parts

from .test_micro_batch import (
    DEFAULTS,
    GRID,
    LOSS_TYPES,
    Make,
    assert_same,
    configure,
    double,
    make,
    micro_batch,
)

__all__ = ["double", "make"]  # fixtures

LENGTHS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=24)
PROMPTS = np.array([3, 9, 20, 1])


@given(rows=LENGTHS, budget=st.integers(1, 120))
@settings(deadline=None)
def test_flat_parts_hold_each_row_once_and_at_most_the_budget(
    rows: list[tuple[int, int]], budget: int
) -> None:
    prompt_of, fed = (np.array(column) for column in zip(*rows, strict=True))
    parts = flat_parts(prompt_of, PROMPTS[prompt_of], fed, budget)
    assert sorted(np.concatenate(parts)) == list(range(len(rows)))
    for part in parts:
        tokens = PROMPTS[np.unique(prompt_of[part])].sum() + fed[part].sum()
        assert tokens <= budget or len(part) == 1


@given(rows=LENGTHS, budget=st.integers(1, 240))
@settings(deadline=None)
def test_padded_parts_hold_each_row_once_and_pad_at_most_twofold(
    rows: list[tuple[int, int]], budget: int
) -> None:
    prompt_of, lengths = (np.array(column) for column in zip(*rows, strict=True))
    prompts = PROMPTS[prompt_of]
    parts = padded_parts(prompts, lengths, budget)
    assert sorted(np.concatenate(parts)) == list(range(len(rows)))
    for part in parts:
        longest = prompts[part].max() + lengths[part].max()
        assert len(part) == 1 or longest * len(part) <= budget
        assert len(part) == 1 or longest <= 2 * (prompts + lengths)[part].min()


def test_flat_parts_are_balanced_and_keep_a_prompts_completions_together() -> None:
    prompt_of = np.array([0, 1, 0, 1, 0, 1])
    parts = flat_parts(prompt_of, np.full(6, 10), np.full(6, 5), 45)
    assert [part.tolist() for part in parts] == [[0, 2, 4], [1, 3, 5]]


def outcome(trainer: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor], dict[str, Any]]:
    """The loss, gradients and metrics of a micro-batch."""
    trainer.model.zero_grad()
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in trainer.model.named_parameters()}
    return loss.item(), gradients, dict(trainer._metrics["train"])


def assert_budget_changes_nothing(trainer: Any, batch: dict[str, Any], budget: int) -> int:
    """Compare the micro-batch with and without the budget, and return the number of its parts."""
    whole_batch, split_batch = dict(batch), dict(batch)
    trainer._options = StepOptions(pack_sequences=trainer._flat)
    loss, gradients, metrics = outcome(trainer, whole_batch)
    trainer._options = StepOptions(pack_sequences=trainer._flat, max_tokens_per_micro_batch=budget)
    parts = trainer._make_parts(dict(batch))
    assert all(part.size <= budget or len(part.tokens.sequence.unique()) <= 1 for part in parts)
    split_loss, split_gradients, split_metrics = outcome(trainer, split_batch)
    assert split_loss == pytest.approx(loss, rel=1e-6, abs=1e-8)
    assert split_metrics.keys() == metrics.keys()
    for name, values in metrics.items():
        assert split_metrics[name] == pytest.approx(values, rel=1e-5, abs=1e-7), name
    # The norms of the model compute in float32. A prompt that is shared by other rows then rounds in another way.
    share = 1e-6 if trainer._flat else 1e-12
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            split_gradients[name],
            gradient,
            rtol=10 * share,
            atol=share * float(gradient.abs().max()),
            msg=partial("{}: {}".format, name),
        )
    old = "old_per_token_logps"
    assert (old in split_batch) == (old in whole_batch)
    if old in whole_batch:
        torch.testing.assert_close(split_batch[old], whole_batch[old])
    return len(parts)


@pytest.fixture(scope="module")
def trainers(make: Make) -> dict[str, Any]:
    return {
        "flat": make(FusedGRPOTrainer),
        "padded": make(FusedGRPOTrainer, step_options=StepOptions(pack_sequences=False)),
        "absolute positions": make(FusedGRPOTrainer, "gpt2"),
    }


@pytest.mark.parametrize("layout", ["flat", "padded", "absolute positions"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.usefixtures("double")  # the weights of tokens too
def test_parts_give_the_loss_gradients_and_metrics_of_the_whole(
    trainers: dict[str, Any], layout: str, loss_type: str
) -> None:
    trainer = trainers[layout]
    for number, options in enumerate(one for one in GRID if one["loss_type"] == loss_type):
        configure(trainer, **{**DEFAULTS, **options})
        trainer._entropy_bonus_enabled = trainer.entropy_coef != 0
        trainer._skips = trainer.beta == 0 and not trainer.entropy_coef and trainer.top_entropy_quantile == 1
        old, sampling = number % 2 > 0, number % 3 > 0
        trainer.use_vllm = sampling
        batch = micro_batch(trainer.beta != 0, old, sampling, tools=number % 4 > 1)
        if number % 5 == 0:  # an advantage for each token, as process supervision gives
            shape = batch["completion_mask"].shape
            batch["advantages"] = batch["advantages"][:, None] * torch.linspace(1, 2, shape[1]).expand(shape)
        assert assert_budget_changes_nothing(trainer, batch, 18) > 1


QUANTILES = [
    {"loss_type": loss_type, "top_entropy_quantile": quantile, **rest}
    for loss_type in LOSS_TYPES
    for quantile, rest in (
        (0.2, {}),
        (0.6, {"entropy_coef": 0.02}),
        (0.6, {"beta": 0.07, "importance_sampling_level": "sequence"}),
    )
]


@pytest.mark.parametrize("layout", ["flat", "padded", "absolute positions"])
def test_parts_train_the_tokens_of_highest_entropy_of_the_whole_as_trl_does(
    make: Make, trainers: dict[str, Any], layout: str
) -> None:
    ours, theirs = trainers[layout], make(GRPOTrainer, "gpt2" if layout == "absolute positions" else "llama")
    for number, options in enumerate(QUANTILES):
        for trainer in (ours, theirs):
            configure(trainer, **{**DEFAULTS, "importance_sampling_level": "token", **options})
            trainer._entropy_bonus_enabled = trainer.entropy_coef != 0
            trainer.use_vllm = False
        ours._skips = False
        ours._options = StepOptions(pack_sequences=ours._flat, max_tokens_per_micro_batch=18)
        batch = micro_batch(ours.beta != 0, old=number % 2 > 0, tools=number % 4 > 1)
        assert len(ours._make_parts(batch)) > 1
        assert_same(ours, theirs, batch, 1e-5)


def test_the_pass_for_entropies_draws_the_dropout_masks_of_the_training(
    make: Make, tiny_model: Callable[..., Path]
) -> None:
    trainer = make(FusedGRPOTrainer, tiny_model("gpt2", resid_pdrop=0.4), top_entropy_quantile=0.4)
    trainer.model.transformer.h[0].mlp.dropout.p = 0.4  # the fixture's trainers have it turned off
    trainer._options = StepOptions(share_prefix=False, max_tokens_per_micro_batch=40)
    seen: list[Any] = []
    forward = trainer.model.forward

    def spied(**inputs: Any) -> Any:
        seen.append(forward(**inputs))
        return seen[-1]

    trainer.model.forward = spied
    trainer._compute_loss(trainer.model, micro_batch())
    parts = len(seen) // 2
    assert parts > 1
    for before, trained in zip(seen[:parts], seen[parts:], strict=True):
        torch.testing.assert_close(before.entropy, trained.entropy, rtol=0, atol=0)


@given(
    lengths=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    budget=st.integers(1, 120),
    layout=st.sampled_from(["flat", "padded"]),
)
@settings(deadline=None, max_examples=25)
def test_parts_of_any_lengths_give_the_gradients_of_the_whole(
    trainers: dict[str, Any], lengths: list[int], budget: int, layout: str
) -> None:
    trainer = trainers[layout]
    configure(trainer, **DEFAULTS, loss_type="grpo", importance_sampling_level="token")
    trainer._entropy_bonus_enabled, trainer._skips = False, True
    trainer.use_vllm = False
    batch = micro_batch()
    batch["advantages"] = torch.linspace(-1, 1, 8, dtype=torch.float64)
    batch["completion_mask"] = (torch.arange(9) < torch.tensor(lengths)[:, None]).long()
    assert_budget_changes_nothing(trainer, batch, budget)


def test_parts_of_many_long_rows_give_the_gradients_of_the_whole(trainers: dict[str, Any]) -> None:
    """96 rows of up to 300 tokens: flat attention computes them in several blocks, and a prompt is in many parts."""
    trainer = trainers["flat"]
    configure(trainer, **DEFAULTS, loss_type="grpo", importance_sampling_level="token")
    trainer._entropy_bonus_enabled, trainer._skips = False, True
    trainer.use_vllm = False
    rows, longest = 96, 300
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, longest + 1, (rows,), generator=generator)
    mask = (torch.arange(longest) < lengths[:, None]).long()
    prompts = torch.randint(1, 257, (3, 40), generator=generator).repeat_interleave(rows // 3, 0)
    batch = {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": torch.randint(1, 257, mask.shape, generator=generator) * mask,
        "completion_mask": mask,
        "advantages": torch.randn(rows, dtype=torch.float64, generator=generator),
        "num_items_in_batch": mask.sum(),
    }
    assert assert_budget_changes_nothing(trainer, batch, 700) > 20


def test_a_completion_above_the_budget_goes_alone_and_is_named_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make(FusedGRPOTrainer, step_options=StepOptions(max_tokens_per_micro_batch=12))
    for _ in range(2):
        parts = trainer._make_parts(micro_batch())
        assert [len(part.tokens.sequence.unique()) for part in parts if part.size > 12] == [1]
    assert caplog.text.count("takes 13 tokens with its prompt, more than max_tokens_per_micro_batch 12") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"step_options": {"fused_loss": False}}, "fused_loss is off"),
        ({"use_adaptive_entropy": True, "entropy_target": 1.0}, "use_adaptive_entropy is set"),
    ],
)
def test_what_needs_the_whole_micro_batch_is_refused_with_a_budget(
    make: Make, options: dict[str, Any], reason: str
) -> None:
    step = StepOptions(max_tokens_per_micro_batch=100, **options.pop("step_options", {}))
    with pytest.raises(UsageError, match=reason):
        make(FusedGRPOTrainer, step_options=step, **options)


def small_training(folder: Path, work: Path, budget: int | None, dtype: str, **options: Any) -> Any:
    """A trainer of three steps."""
    from datasets import Dataset
    from tiny_training import cpu_config

    config = cpu_config(
        work, per_device_train_batch_size=8, num_generations=4, max_completion_length=8, max_steps=3,
        steps_per_generation=2, num_iterations=2, learning_rate=0.05, optim="sgd", logging_steps=1, seed=3, **options,
    )  # fmt: skip
    trainer: Any = FusedGRPOTrainer(
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype),
        [lambda completions, **_: [sum(map(ord, one)) % 7 / 7 for one in completions]],
        config,
        Dataset.from_dict({"prompt": ["ab", "c", "def", "gh"] * 4}),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
        step_options=StepOptions(max_tokens_per_micro_batch=budget),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    torch.manual_seed(1)
    return trainer


@pytest.mark.parametrize("accumulated", [1, 2])
def test_training_with_a_budget_ends_at_the_same_weights(
    tiny_model: Callable[..., Path], tmp_path: Path, accumulated: int
) -> None:
    """Through transformers' own training step, with clipping, reused rollouts and old log-probabilities."""
    trained = []
    for budget in (None, 14):
        trainer = small_training(
            tiny_model(), tmp_path, budget, "float64", gradient_accumulation_steps=accumulated
        )
        trainer.train()
        logged = [
            {name: entry[name] for name in ("loss", "grad_norm", "entropy", "clip_ratio/region_mean")}
            for entry in trainer.state.log_history[:-1]
        ]
        trained.append((logged, trainer.model.state_dict()))
    (whole_log, whole), (parts_log, parts) = trained
    for ours, theirs in itertools.zip_longest(parts_log, whole_log):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [2.0**16, 2.0**26])
def test_training_in_float16_with_a_budget_scales_and_skips_as_without(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """The larger scale overflows, so the scaler skips the first step. Accelerate makes no scaler on CPU."""
    from accelerate.state import AcceleratorState

    trained = []
    for budget in (None, 14):
        trainer = small_training(tiny_model(), tmp_path, budget, "float32", gradient_accumulation_steps=1)
        monkeypatch.setitem(AcceleratorState._shared_state, "_mixed_precision", "fp16")
        accelerator = trainer.accelerator
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, backoff_factor=2.0**-12)
        before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
        trainer.train()
        moved = {name: weight - before[name] for name, weight in trainer.model.state_dict().items()}
        trained.append((accelerator.scaler.get_scale(), moved, trainer.state.log_history[:-1]))
        monkeypatch.undo()
    (whole_scale, whole, whole_log), (parts_scale, parts, parts_log) = trained
    assert parts_scale == whole_scale
    assert (whole_scale < scale) == (scale > 2**16)
    for ours, theirs in zip(parts_log, whole_log, strict=True):
        logged = [{name: entry[name] for name in ("loss", "grad_norm")} for entry in (ours, theirs)]
        assert logged[0] == pytest.approx(logged[1], rel=0.01, abs=1e-5, nan_ok=True)
    for name, change in whole.items():
        assert change.norm() > 0
        assert (parts[name] - change).norm() < 0.01 * change.norm(), name
