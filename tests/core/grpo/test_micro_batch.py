"""The fused step: TRL's loss and gradients on the same micro-batch, whatever is switched on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.errors import StageFailedError
from guerdon.grpo import FusedGRPOTrainer, StepOptions
from guerdon.kernels import token_terms

Make = Callable[..., Any]
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


def characters(completions: list[str], **_: Any) -> list[float | None]:
    return [float(len(completion)) for completion in completions]


@pytest.fixture(scope="module")
def make(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes trainers, all with the same weights, in float64."""
    folders = {name: tiny_model(name) for name in ("llama", "qwen3", "gpt2")}
    rows = Dataset.from_dict({"prompt": ["ab"] * 8})

    def build(kind: type[GRPOTrainer], architecture: str | Path = "llama", **options: Any) -> Any:
        folder = architecture if isinstance(architecture, Path) else folders[architecture]
        own = {"step_options": options.pop("step_options")} if "step_options" in options else {}
        config = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trainer")),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=9,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            disable_dropout=True,
            **options,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float64")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        trainer: Any = kind(model, [characters], config, rows, processing_class=tokenizer, **own)
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        return trainer

    return build


def micro_batch(
    beta: bool = False, old: bool = False, sampling: bool = False, tools: bool = False
) -> dict[str, Any]:
    """Two groups of four: prompts of 5 and 3 tokens, completions of 1 to 9, one group without variance."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([9, 1, 4, 7, 2, 9, 5, 3])
    completion_mask = (torch.arange(9) < lengths[:, None]).long()
    prompt_mask = torch.ones(8, 5, dtype=torch.long)
    prompt_mask[4:, :2] = 0
    prompts = torch.randint(1, 257, (2, 5), generator=generator).repeat_interleave(4, 0)

    def noise(low: float = -6.5, high: float = -4.5) -> Any:
        return torch.rand(8, 9, dtype=torch.float64, generator=generator) * (high - low) + low

    batch: dict[str, Any] = {
        "prompt_ids": prompts * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(1, 257, (8, 9), generator=generator) * completion_mask,
        "completion_mask": completion_mask,
        "advantages": torch.tensor([1.2, -0.4, -1.1, 0.3, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64),
        "num_items_in_batch": completion_mask.sum(),
    }
    if beta:
        batch["ref_per_token_logps"] = noise()
    if old:
        batch["old_per_token_logps"] = noise()
    mask = completion_mask
    if tools:
        batch["tool_mask"] = (torch.rand(8, 9, generator=generator) < 0.7).long()
        mask = mask * batch["tool_mask"]
    if sampling:
        batch["sampling_per_token_logps"] = noise()
        batch["importance_sampling_ratio"] = noise(0.3, 1.7).where(mask.bool(), 1)  # as TRL makes it
    return batch


def loss_and_gradients(trainer: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, dict(batch))
    loss.backward()
    return loss.detach(), {
        n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None
    }


def assert_same(ours: Any, theirs: Any, batch: dict[str, Any], tolerance: float = 1e-9) -> None:
    loss, gradients = loss_and_gradients(ours, batch)
    expected, expected_gradients = loss_and_gradients(theirs, batch)
    torch.testing.assert_close(loss.double(), expected.double(), rtol=tolerance, atol=tolerance)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            gradient,
            expected_gradients[name],
            rtol=1e-5,
            atol=tolerance,
            msg=partial("{}: {}".format, name),
        )


def configure(trainer: Any, **values: Any) -> None:
    """Set options of a trainer that is built, where TRL's own loss reads them."""
    import dataclasses

    for name, value in values.items():
        attribute = {"epsilon": "epsilon_low"}.get(name, name)
        if hasattr(trainer, attribute):
            setattr(trainer, attribute, value)
        setattr(trainer.args, name, value)
    if isinstance(trainer, FusedGRPOTrainer):
        trainer._spec = dataclasses.replace(
            trainer._spec, **{n: v for n, v in values.items() if hasattr(trainer._spec, n)}
        )


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


GRID = [
    {"loss_type": loss_type, "importance_sampling_level": level, **rest}
    for loss_type, level, rest in itertools.product(
        LOSS_TYPES,
        ("token", "sequence"),
        (
            {},
            {"beta": 0.07},
            {"beta": 0.07, "use_bias_correction_kl": False, "epsilon_high": 0.4},
            {"delta": 1.5, "off_policy_mask_threshold": 0.3},
            {"entropy_coef": 0.02, "top_entropy_quantile": 0.6},
        ),
    )
]


DEFAULTS = {
    "beta": 0.0,
    "use_bias_correction_kl": True,
    "epsilon_high": 0.2,
    "delta": None,
    "off_policy_mask_threshold": None,
    "entropy_coef": 0.0,
    "top_entropy_quantile": 1.0,
}


@pytest.fixture(scope="module")
def pair(make: Make) -> tuple[Any, Any]:
    # The options under test are set afterwards, so the model is built once. A reference model is never asked.
    return make(FusedGRPOTrainer), make(GRPOTrainer)


INPUTS = (
    ((False, False, False), (False, True, True), (True, False, True), (True, True, False)),
    ((True, True, True), (True, False, False), (False, True, False), (False, False, True)),
)
"""Old log-probabilities, those of sampling and a tool mask: all eight, in two halves that each have all pairs."""


@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["", "other half"])
@pytest.mark.parametrize("options", GRID, ids=lambda options: "-".join(map(str, options.values())))
def test_loss_and_gradients_are_trls(pair: tuple[Any, Any], options: dict[str, Any], half: int) -> None:
    for trainer in pair:
        configure(trainer, **{**DEFAULTS, **options})
        trainer._entropy_bonus_enabled = trainer.entropy_coef != 0
    pair[0]._skips = trainer.beta == 0 and not trainer.entropy_coef and trainer.top_entropy_quantile == 1
    for old, sampling, tools in INPUTS[(GRID.index(options) + half) % 2]:
        for trainer in pair:
            trainer.use_vllm = sampling
        assert_same(*pair, micro_batch(options.get("beta", 0) != 0, old, sampling, tools), 1e-5)


EVERY_OPTION = [
    {name: value for part in parts for name, value in part.items()}
    for parts in itertools.product(
        ({}, {"beta": 0.07}, {"beta": 0.07, "use_bias_correction_kl": False}),
        ({}, {"delta": 1.5, "epsilon_high": 0.4}),
        ({}, {"off_policy_mask_threshold": 0.3}),
        ({}, {"entropy_coef": 0.02}),
        ({}, {"top_entropy_quantile": 0.6}),
        ({"old": False}, {"old": True}),
    )
]


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.usefixtures("double")
def test_coefficients_are_trls_to_rounding(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, loss_type: str, level: str
) -> None:
    """TRL's head rounds to float32; with the log-probabilities given to both, the objectives agree in float64."""
    ours, theirs = pair
    logp = (-6 * torch.rand(8, 9, dtype=torch.float64)).requires_grad_()
    entropy = (5 * torch.rand(8, 9, dtype=torch.float64)).float().double().requires_grad_()
    monkeypatch.setattr(theirs, "_get_per_token_logps_and_entropies", lambda *_, **__: (logp, entropy, None))
    monkeypatch.setattr(ours, "_skips", False)
    for number, options in enumerate(EVERY_OPTION):
        sampling = number % 3 > 0  # so that it meets every other pair of options
        for trainer in pair:
            named = {"loss_type": loss_type, "importance_sampling_level": level, **options}
            configure(trainer, **{**DEFAULTS, **named})
            trainer._entropy_bonus_enabled = trainer.entropy_coef != 0
            trainer.use_vllm = sampling
        batch = micro_batch("beta" in options, bool(options["old"]), sampling, tools=True)
        mask = (batch["completion_mask"] * batch["tool_mask"]).bool()
        expected = theirs._compute_loss(theirs.model, batch)
        (step,) = ours._make_parts(batch)
        loss = token_terms(step.spec, logp[mask], entropy[mask], step.tokens).loss

        torch.testing.assert_close(
            loss, expected, rtol=1e-12, atol=1e-12, msg=partial("{}: {}".format, options)
        )
        wanted = torch.autograd.grad(expected, (logp, entropy), allow_unused=True, materialize_grads=True)
        got = torch.autograd.grad(loss, (logp, entropy), allow_unused=True, materialize_grads=True)
        for ours_gradient, theirs_gradient in zip(got, wanted, strict=True):
            torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=1e-12, atol=1e-12)


HEADS = {
    "gemma2": {"final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0},
    "phi": {},
}
"""Architectures whose heads bend or scale the logits, or have a bias."""


@pytest.mark.parametrize("architecture", HEADS)
def test_heads_with_a_soft_cap_a_scale_or_a_bias(
    make: Make, tiny_model: Callable[..., Path], architecture: str
) -> None:
    folder = tiny_model(architecture, **HEADS[architecture])
    ours, theirs = (make(kind, folder, temperature=0.8) for kind in (FusedGRPOTrainer, GRPOTrainer))
    for trainer in (ours, theirs):
        head = trainer.model.get_output_embeddings()
        assert (head.bias is not None) == (architecture == "phi")
        if head.bias is not None:
            torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(2))
    assert_same(ours, theirs, micro_batch(old=True), 1e-5)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
@pytest.mark.parametrize(
    "options",
    [
        StepOptions(),
        StepOptions(pack_sequences=False),
        StepOptions(share_prefix=False),
        StepOptions(skip_zero_variance=False),
        StepOptions(fused_loss=False),
    ],
    ids=["all", "padded", "unshared", "unskipped", "off"],
)
def test_each_switch_leaves_the_result_as_it_is(make: Make, architecture: str, options: StepOptions) -> None:
    ours = make(FusedGRPOTrainer, architecture, step_options=options)
    assert ours._fused == options.fused_loss
    assert_same(ours, make(GRPOTrainer, architecture), micro_batch(), 1e-5)


def test_metrics_are_trls(make: Make) -> None:
    for options in ({"loss_type": "grpo", "importance_sampling_level": "sequence"}, {"loss_type": "dapo"}):
        trainers = (
            make(FusedGRPOTrainer, step_options=StepOptions(skip_zero_variance=False)),
            make(GRPOTrainer),
        )
        for trainer in trainers:
            configure(trainer, **options)
            loss_and_gradients(trainer, micro_batch(old=True))
        ours, theirs = (trainer._metrics["train"] for trainer in trainers)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name


def test_a_micro_batch_without_any_gradient_stays_in_the_graph(make: Make) -> None:
    trainer = make(FusedGRPOTrainer)
    batch = {**micro_batch(), "advantages": torch.zeros(8, dtype=torch.float64)}
    loss, gradients = loss_and_gradients(trainer, batch)
    assert loss == 0
    assert gradients
    assert not any(gradient.any() for gradient in gradients.values())
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    loss, gradients = loss_and_gradients(trainer, batch)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients.values())


def test_what_is_not_covered_is_trained_with_trls_loss(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    ours = make(FusedGRPOTrainer, use_adaptive_entropy=True, entropy_target=9.0)
    assert "TRL's own loss is used: use_adaptive_entropy is set" in caplog.text
    assert_same(ours, make(GRPOTrainer, use_adaptive_entropy=True, entropy_target=9.0), micro_batch())


def test_half_precision_errs_no_more_than_trls(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny_model("qwen3", hidden_size=64, head_dim=16)
    rows = Dataset.from_dict({"prompt": ["ab"] * 8})
    batch = micro_batch()
    batch["advantages"] = batch["advantages"].float()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def gradient(kind: type[GRPOTrainer], half: bool) -> torch.Tensor:
        config = GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=9,
            bf16=half,
            gradient_checkpointing=False,
            use_cpu=True,
        )
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
        trainer: Any = kind(model, [characters], config, rows, processing_class=tokenizer)
        trainer.current_gradient_accumulation_steps = 1
        model.train()
        with trainer.accelerator.autocast():
            loss = trainer._compute_loss(model, dict(batch))
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact = gradient(GRPOTrainer, half=False)
    ours, theirs = (
        float((gradient(kind, half=True) - exact).norm() / exact.norm())
        for kind in (FusedGRPOTrainer, GRPOTrainer)
    )
    assert 1e-4 < ours < 1.2 * theirs


@pytest.mark.parametrize("name", ["attention_dropout", "rope dynamic"])
def test_a_model_that_flat_batches_would_change_is_padded(
    make: Make, tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    options: dict[str, dict[str, Any]] = {
        "attention_dropout": {"attention_dropout": 0.3},
        "rope dynamic": {"rope_parameters": rope},
    }
    folder = tiny_model(**options[name])
    ours, theirs = make(FusedGRPOTrainer, folder), make(GRPOTrainer, folder)
    assert ours._fused
    assert not ours._flat
    assert "micro-batches are padded" in caplog.text
    losses = []
    for trainer in (ours, theirs):
        torch.manual_seed(4)
        losses.append(loss_and_gradients(trainer, micro_batch(old=True)))
    (loss, gradients), (expected, expected_gradients) = losses
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=1e-5)
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[parameter], rtol=1e-4, atol=1e-5)


def test_dropout_of_modules_gives_each_completion_a_mask_of_its_own(
    make: Make, tiny_model: Callable[..., Path]
) -> None:
    ours = make(FusedGRPOTrainer, tiny_model("gpt2", resid_pdrop=0.2))
    ours.model.transformer.h[0].mlp.dropout.p = 0.2  # the fixture's trainers have it turned off
    assert make(FusedGRPOTrainer)._options.share_prefix
    ours._set_up_step()
    assert not ours._options.share_prefix
    assert not ours._skips


def test_torch_compile_is_trained_with_trls_loss(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make(FusedGRPOTrainer)
    assert ours._fused_obstacle(ours.model) is None
    monkeypatch.setattr(ours.args, "torch_compile", True)
    assert ours._fused_obstacle(ours.model) == "torch_compile is set"


def test_policy_loss_of_combined_entropy_options_is_trls(make: Make) -> None:
    logged = []
    for kind in (FusedGRPOTrainer, GRPOTrainer):
        trainer = make(kind, entropy_coef=0.05, top_entropy_quantile=0.4)
        trainer.accelerator.gradient_state._set_sync_gradients(True)
        loss_and_gradients(trainer, micro_batch(old=True))
        logged.append(trainer._metrics["train"]["policy_loss"][0])
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)


@pytest.mark.parametrize(
    ("rewards", "constant"),
    [
        ([1e5, 1e5 + 0.01, 1e5, 1e5], False),
        ([1e7, 1e7 + 1, 1e7, 1e7], False),
        ([0.3, 0.3, 0.3, 0.3], True),
        ([1e-7, 0.0, 0.0, 0.0], False),
        ([float("nan")] * 4, True),
        ([0.5, float("nan"), 0.5, 0.5], True),
    ],
)
def test_a_group_is_constant_only_where_its_rewards_are_equal(
    make: Make, rewards: list[float], constant: bool
) -> None:
    trainer = make(FusedGRPOTrainer)
    trainer._rewards = torch.tensor(rewards)
    assert trainer._constant_groups().tolist() == [constant] * 4


@pytest.mark.parametrize("kind", ["fused", "trl"])
def test_a_loss_that_is_not_finite_names_the_step(make: Make, kind: str) -> None:
    trainer = make(FusedGRPOTrainer, step_options=StepOptions(fused_loss=kind == "fused"))
    trainer.state.global_step = 6
    batch = micro_batch(old=True)
    batch["old_per_token_logps"] *= torch.nan
    with pytest.raises(StageFailedError, match="the loss is not finite at step 7"):
        trainer._compute_loss(trainer.model, batch)
