"""On-policy distillation by TRL's trainer: what the student learns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import DataError, GuerdonError, ParamsError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params
from guerdon.types import Judgements
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.trl.distill import Distill
from guerdon_plugins.stages.trl.grpo import Grpo

SHORT: dict[str, Any] = {
    "max_steps": 8,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "max_completion_length": 8,
}


@pytest.fixture
def student(small_model: Model, tmp_path: Path) -> Model:
    """The small model, moved away from itself."""
    model = load_model(small_model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    model.save_pretrained(tmp_path / "student")
    load_tokenizer(small_model).save_pretrained(tmp_path / "student")
    return Model("student", str(tmp_path / "student"))


def rows(count: int = 32) -> list[dict[str, Any]]:
    return list(islice(Arithmetic("problems"), count))


def divergence(student: Model, teacher: Model) -> float:
    """Return the mean reverse KL per token on texts of the data."""
    tokenizer = load_tokenizer(teacher)
    ids = tokenizer("1 + 2 = 3, and 4 + 5 = 9, so we check it.", return_tensors="pt").input_ids
    with torch.no_grad():
        own, other = (load_model(model)(ids).logits.log_softmax(-1) for model in (student, teacher))
    return float((own.exp() * (own - other)).sum(-1).mean())


def test_params_are_trl_s_options_without_the_teacher() -> None:
    def check(**params: Any) -> dict[str, Any]:
        return check_params(Component(find_plugin("distill", [Kind.STAGE]), Kind.STAGE, params), Distill)

    assert check(beta=0.5, temperature=0.9)
    with pytest.raises(ParamsError, match="the teacher is the second model of 'init'"):
        check(teacher_model_name_or_path="org/teacher")
    with pytest.raises(ParamsError, match="Did you mean 'temperature'"):
        check(temprature=0.9)


@pytest.mark.parametrize("peft", [None, {"r": 8, "target_modules": "all-linear"}], ids=["all", "lora"])
def test_a_student_comes_closer_to_its_teacher(
    make_context: Callable[..., Any], small_model: Model, student: Model, peft: dict[str, Any] | None
) -> None:
    context, log = make_context(rows(), [student, small_model])
    rate = {"learning_rate": 2e-2} if peft else {}
    result = Distill(**{**SHORT, **rate}, peft=peft).run(context)
    distilled = Model("distilled", str(result.checkpoint))
    assert result.metrics["steps"] == 8
    assert result.metrics["prompts"] == 32
    assert result.metrics["loss"] < result.metrics["loss_first"]
    assert divergence(distilled, small_model) < 0.8 * divergence(student, small_model)
    assert max(step for step, _, _ in log.progress) == 8
    assert load_tokenizer(distilled).chat_template


@pytest.mark.parametrize(
    ("options", "init", "count", "message"),
    [
        (
            {},
            ["base"],
            32,
            r"init names 1 model \(base\), and the stage takes 2: the student and its teacher",
        ),
        ({}, ["a", "b", "c"], 32, "init names 3 models"),
        ({"beta": 1.5}, ["a", "b"], 32, "beta is 1.5"),
        ({"peft": {"rank": 1}}, ["a", "b"], 32, "'rank'"),
        ({"gradient_accumulation_steps": 5}, ["a", "b"], 32, "there are 32 prompts, and one step takes 40"),
    ],
)
def test_preflight_refuses_what_the_run_would(
    options: dict[str, Any], init: list[str], count: int, message: str
) -> None:
    with pytest.raises(GuerdonError, match=message):
        Distill(**options).preflight(rows(4), count, [], init)


def test_a_teacher_with_another_vocabulary_and_one_model_alone_are_refused(
    make_context: Callable[..., Any], small_model: Model, student: Model
) -> None:
    context, _ = make_context(rows(), [student])
    with pytest.raises(UsageError, match="init names 1 model"):
        Distill(**SHORT).run(context)
    tokenizer = load_tokenizer(student)
    tokenizer.add_tokens(["<other>"])
    tokenizer.save_pretrained(student.path)
    context, _ = make_context(rows(), [student, small_model])
    with pytest.raises(UsageError, match="other vocabularies, such as at the token '<other>'"):
        Distill(**SHORT).run(context)


def test_too_few_prompts_for_a_step_are_refused(
    make_context: Callable[..., Any], small_model: Model, student: Model
) -> None:
    context, _ = make_context(rows(4), [student, small_model])
    with pytest.raises(DataError, match="there are 4 prompts, and one step takes 8"):
        Distill(**SHORT).run(context)


class Nothing:
    """Rewards no completion, so that a step follows the reference model alone."""

    names = ("nothing",)

    def weights(self, step: int) -> dict[str, float]:
        return {"nothing": 1.0}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        verdicts = [Verdict(Score(0.0), 1.0, 0.1) for _ in rollouts]
        return Judgements(Judgement.of({"nothing": verdict}) for verdict in verdicts)


TAUGHT: dict[str, Any] = {**SHORT, "num_generations": 2, "learning_rate": 1e-2, "beta": 1.0}


def test_grpo_comes_closer_to_a_second_model_which_is_the_reference_of_beta(
    make_context: Callable[..., Any], small_model: Model, student: Model
) -> None:
    context, _ = make_context(rows(), [student, small_model], Nothing())
    taught = Model("taught", str(Grpo(**TAUGHT).run(context).checkpoint))
    assert divergence(taught, small_model) < 0.9 * divergence(student, small_model)


@pytest.mark.parametrize(
    ("options", "init", "message"),
    [
        ({}, ["sft", "teacher"], "init names 'teacher' as the reference model, and beta is 0"),
        ({"beta": 0.1, "peft": {"r": 2}}, ["sft", "teacher"], "and peft is set"),
        ({"beta": 0.1, "sync_ref_model": True}, ["sft", "teacher"], "and sync_ref_model is set"),
        (
            {"beta": 0.1},
            ["a", "b", "c"],
            "init names 3 models .* takes 1 or 2: the policy, and the reference",
        ),
    ],
)
def test_grpo_refuses_a_second_model_that_it_would_not_use(
    make_context: Callable[..., Any],
    small_model: Model,
    options: dict[str, Any],
    init: list[str],
    message: str,
) -> None:
    with pytest.raises(GuerdonError, match=message):
        Grpo(**options).preflight(rows(4), 32, [], init=init)
    context, _ = make_context(rows(), [replace(small_model, name=name) for name in init], Nothing())
    with pytest.raises(GuerdonError, match=message):
        Grpo(**{**SHORT, **options}).run(context)


def test_grpo_refuses_a_reference_model_with_another_vocabulary(
    make_context: Callable[..., Any], small_model: Model, student: Model
) -> None:
    tokenizer = load_tokenizer(student)
    tokenizer.add_tokens(["<other>"])
    tokenizer.save_pretrained(student.path)
    context, _ = make_context(rows(), [student, small_model], Nothing())
    with pytest.raises(
        UsageError, match=r"other vocabularies.*name a reference model of the policy's tokenizer"
    ):
        Grpo(**TAUGHT).run(context)
