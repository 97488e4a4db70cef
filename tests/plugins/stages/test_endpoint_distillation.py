"""A teacher behind an endpoint, in `distill` and as the reference of `grpo`, and what goes wrong at its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_server import VllmServer, served_teacher

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import GuerdonError, InfrastructureError, ParamsError, StageFailedError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon.types import Judgements
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.trl.distill import Distill
from guerdon_plugins.stages.trl.endpoint_trainers import estimated_reverse_kl
from guerdon_plugins.stages.trl.grpo import Grpo
from guerdon_plugins.stages.trl.teacher import Teacher

ROWS: list[dict[str, Any]] = list(islice(Arithmetic("problems"), 32))
SHORT: dict[str, Any] = {
    "max_steps": 10,
    "per_device_train_batch_size": 32,
    "learning_rate": 1e-2,
    "max_completion_length": 8,
    "save_steps": 2,
}


@pytest.fixture
def student(small_model: Model, tmp_path: Path) -> Model:
    """The small model, moved away from itself."""
    model = load_model(small_model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save_pretrained(tmp_path / "student")
    load_tokenizer(small_model).save_pretrained(tmp_path / "student")
    return Model("student", str(tmp_path / "student"))


@pytest.fixture
def server(small_model: Model) -> Iterator[VllmServer]:
    with served_teacher(small_model.path) as running:
        yield running


def stage(server: VllmServer, **options: Any) -> Distill:
    endpoint = {"base_url": server.url, "model": "teacher", "max_retries": 0, "concurrency": 4}
    return Distill(**{**SHORT, **options}, endpoint=endpoint)


def teacher_of(server: VllmServer) -> Teacher:
    return Teacher(Endpoint(server.url, "teacher", max_retries=0))


def weights(folder: Any) -> dict[str, Any]:
    return dict(load_model(Model("model", str(folder))).state_dict())


def divergence(student: Model, teacher: Model) -> float:
    """Return the mean reverse KL per token on a text."""
    ids = load_tokenizer(teacher)("1 + 2 = 3, and 4 + 5 = 9, so we check it.", return_tensors="pt").input_ids
    with torch.no_grad():
        own, other = (load_model(model)(ids).logits.log_softmax(-1) for model in (student, teacher))
    return float((own.exp() * (own - other)).sum(-1).mean())


@pytest.mark.parametrize("top", [0, 5, 50])
def test_over_all_tokens_the_estimate_is_the_reverse_kl_and_its_gradient(top: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher_logits = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    logp, teacher = logits.log_softmax(-1), teacher_logits.log_softmax(-1)
    exact = (logp.exp() * (logp - teacher)).sum()
    (wanted,) = torch.autograd.grad(exact, logits, retain_graph=True)
    best = teacher.topk(top).indices.tolist()
    estimate = torch.zeros((), dtype=torch.float64)
    for token in range(50):  # each token that may be sampled
        tokens = torch.tensor([token, *(other for other in best if other != token)])
        is_top = torch.tensor([int(one) in best for one in tokens])
        terms = estimated_reverse_kl(logp[tokens], teacher[tokens], is_top)
        estimate = estimate + logp[token].detach().exp() * terms
    (found,) = torch.autograd.grad(estimate, logits)
    torch.testing.assert_close(estimate, exact)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("top", [0, 3])
def test_a_teacher_gives_the_log_probabilities_of_the_model_that_it_serves(
    server: VllmServer, small_model: Model, top: int
) -> None:
    prompts, completions = [[5, 6, 7], [8, 9]], [[10, 11], [12, 13, 14, 15]]
    found = teacher_of(server).logprobs(prompts, completions, top)
    model = load_model(small_model)
    for prompt, completion, known in zip(prompts, completions, found, strict=True):
        with torch.no_grad():
            logps = model(torch.tensor([[*prompt, *completion]])).logits[0].log_softmax(-1)
        for place, (token, one) in enumerate(zip(completion, known, strict=True), start=len(prompt) - 1):
            best = logps[place].topk(top).indices.tolist()
            assert one.sampled == pytest.approx(float(logps[place, token]), abs=1e-5)
            assert one.is_top == (token in best)
            wanted = {other: float(logps[place, other]) for other in best if other != token}
            assert one.others == pytest.approx(wanted, abs=1e-5)


def test_a_student_comes_closer_to_the_teacher_and_resumes_when_the_endpoint_is_back(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, student: Model, tmp_path: Path
) -> None:
    context, _ = make_context(ROWS, [student])
    whole = stage(server).run(context)
    assert whole.metrics["steps"] == 10
    assert server.asked == 320
    assert divergence(Model("distilled", str(whole.checkpoint)), small_model) < 0.9 * divergence(
        student, small_model
    )
    unbroken = weights(whole.checkpoint)

    (context.work).rename(tmp_path / "first")
    context, _ = make_context(ROWS, [student])
    server.asked = 0
    server.status_of = lambda asked: 503 if asked > 230 else 200
    with pytest.raises(InfrastructureError, match=r"the endpoint .* fails: 503 .*run the same command again"):
        stage(server).run(context)
    assert (context.work / "checkpoint-6").is_dir()
    server.asked = 0
    server.status_of = lambda asked: 200
    resumed = stage(server).run(context)
    assert server.asked == 128
    found = weights(resumed.checkpoint)
    assert all(torch.equal(found[name], unbroken[name]) for name in unbroken)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"beta": 0.5}, "beta is 0.5, and the teacher is at an endpoint"),
        ({"temperature": 0.7}, "temperature is 0.7"),
        ({"top_p": 0.9}, "top_p is 0.9"),
        ({"generation_kwargs": {"suppress_tokens": [1]}}, "generation_kwargs is"),
    ],
)
def test_check_and_run_refuse_options_that_would_bias_the_estimate(
    make_context: Callable[..., Any],
    server: VllmServer,
    student: Model,
    options: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(ParamsError, match=reason):
        stage(server, **options).preflight(ROWS[:4], 32, [], ["base"])
    context, _ = make_context(ROWS, [student])
    with pytest.raises(ParamsError, match=reason):
        stage(server, **options).run(context)


def test_check_and_run_refuse_two_models_and_a_teacher_of_another_tokenizer(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, student: Model
) -> None:
    stage(server).preflight(ROWS[:4], 32, [student], ["student"])
    context, _ = make_context(ROWS, [student, small_model])
    with pytest.raises(UsageError, match="init names 2 models"):
        stage(server).preflight(ROWS[:4], 32, [], ["a", "b"])
    with pytest.raises(UsageError, match="init names 2 models"):
        stage(server).run(context)
    server.tokenizer.add_tokens(["1"], special_tokens=True)  # a text that has another number now
    context, _ = make_context(ROWS, [student])
    reason = "reads the text '1.*' as the tokens .* serve a teacher of the student's tokenizer"
    with pytest.raises(UsageError, match=reason):
        stage(server).preflight(ROWS[:4], 32, [student], ["student"])
    with pytest.raises(UsageError, match=reason):
        stage(server).run(context)


def test_check_names_an_endpoint_that_is_down(server: VllmServer, student: Model) -> None:
    down = Distill(**SHORT, endpoint={"base_url": "http://127.0.0.1:9/v1", "model": "m", "max_retries": 0})
    with pytest.raises(InfrastructureError, match="does not answer"):
        down.preflight(ROWS[:4], 32, [student], ["student"])


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda choice: choice.pop("prompt_logprobs"), UsageError, "answers without prompt_logprobs"),
        (lambda choice: choice["prompt_logprobs"].pop(), InfrastructureError, "log-probabilities of 3"),
        (
            lambda choice: choice["prompt_logprobs"].__setitem__(-1, {"77": {"logprob": -1.0}}),
            InfrastructureError,
            "gives no log-probability of the token 8",
        ),
        (
            lambda choice: choice["prompt_logprobs"][-1]["8"].update(logprob=-9999.0),
            StageFailedError,
            "the log-probability of the token 8 is -9999.0",
        ),
        (
            lambda choice: choice["prompt_logprobs"][-1]["8"].update(logprob=float("nan")),
            StageFailedError,
            "the log-probability of the token 8 is nan",
        ),
    ],
)
def test_a_wrong_answer_is_an_error_and_no_loss(
    server: VllmServer, change: Callable[[Any], Any], error: type[Exception], reason: str
) -> None:
    server.change = change
    with pytest.raises(error, match=reason):
        teacher_of(server).logprobs([[5, 6]], [[7, 8]])


class Nothing:
    """Rewards no completion, so that a step follows the reference model alone."""

    names = ("nothing",)

    def weights(self, step: int) -> dict[str, float]:
        return {"nothing": 1.0}

    def score(self, rollouts: Sequence[Rollout], step: int = 0) -> Judgements:
        verdicts = [Verdict(Score(0.0), 1.0, 0.1) for _ in rollouts]
        return Judgements(Judgement.of({"nothing": verdict}) for verdict in verdicts)


TAUGHT: dict[str, Any] = {**SHORT, "max_steps": 2, "num_generations": 2, "beta": 1.0, "optim": "sgd"}
TAUGHT["learning_rate"] = 1.0  # Adam would enlarge the last digits of small gradients


def test_grpo_with_a_reference_at_an_endpoint_ends_as_with_the_model_itself(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, student: Model, tmp_path: Path
) -> None:
    endpoint = {"base_url": server.url, "model": "teacher"}
    context, _ = make_context(ROWS, [student], Nothing())
    asked = weights(Grpo(**TAUGHT, reference_endpoint=endpoint).run(context).checkpoint)
    assert server.asked == 64
    context.work.rename(tmp_path / "first")
    context, _ = make_context(ROWS, [student, small_model], Nothing())
    loaded = weights(Grpo(**TAUGHT).run(context).checkpoint)
    before = weights(student.path)
    assert any((loaded[name] - before[name]).abs().max() > 1e-3 for name in loaded)
    for name in loaded:
        torch.testing.assert_close(asked[name], loaded[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "init", "reason"),
    [
        ({}, ["a"], "reference_endpoint names the reference model, and beta is 0"),
        ({"beta": 0.1, "peft": {"r": 2}}, ["a"], "and peft is set"),
        (
            {"beta": 0.1, "temperature": 0.7},
            ["a"],
            "temperature is 0.7, and the reference model is at an endpoint",
        ),
        (
            {"beta": 0.1},
            ["a", "b"],
            "init names 'b' as the reference model, and reference_endpoint names another",
        ),
    ],
)
def test_grpo_refuses_a_reference_at_an_endpoint_that_it_would_not_use(
    make_context: Callable[..., Any],
    server: VllmServer,
    small_model: Model,
    options: dict[str, Any],
    init: list[str],
    reason: str,
) -> None:
    stage = Grpo(**{**SHORT, **options}, reference_endpoint={"base_url": server.url, "model": "teacher"})
    with pytest.raises(GuerdonError, match=reason):
        stage.preflight(ROWS[:4], 32, [], init=init)
    context, _ = make_context(ROWS, [replace(small_model, name=name) for name in init], Nothing())
    with pytest.raises(GuerdonError, match=reason):
        stage.run(context)
