"""The stage `async_grpo`: a training whose rollouts a server samples, its records, its resume, and what it refuses."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from real_vllm import real_server
from tiny_model import save_tiny_model
from trl.experimental.async_grpo import async_rollout_worker
from vllm_server import VllmServer, served_teacher

from guerdon import Model
from guerdon.errors import (
    DataError,
    InfrastructureError,
    MissingDependencyError,
    ParamsError,
    StageFailedError,
    UsageError,
)
from guerdon.manifest.rubrics import resolve_rubric
from guerdon.models import load_model, load_tokenizer
from guerdon.rubric import Rubric
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.trl import async_grpo
from guerdon_plugins.stages.trl.async_grpo import AsyncGrpo

ROWS: list[dict[str, Any]] = list(islice(Arithmetic("problems"), 16))
SHORT: dict[str, Any] = {
    "weight_transfer": "folder",
    "max_steps": 4,
    "save_steps": 2,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 8,
    "token_budget": 0,
    "max_inflight_tasks": 8,
    "learning_rate": 1e-2,
}
CHECKS = """
def letters(completion):
    return len(completion) / 20
"""


@pytest.fixture
def _without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let TRL and the stage take the server's stand-in, where vLLM is not installed."""
    monkeypatch.setattr(async_rollout_worker, "is_vllm_available", lambda *_, **__: True)
    monkeypatch.setattr(async_grpo, "installed", lambda _: True)


@pytest.fixture
def server(small_model: Model, _without_vllm: None) -> Iterator[VllmServer]:
    with served_teacher(small_model.path) as running:
        yield running


@pytest.fixture
def rubric(tmp_path: Path) -> Iterator[Rubric]:
    (tmp_path / "checks.py").write_text(CHECKS)
    manifest = tmp_path / "run.yaml"
    manifest.write_text(
        "name: n\nmodel: m\nstages:\n  - id: s\n    use: async_grpo\n    data: [{use: arithmetic}]\n"
        "    rewards: [{use: './checks.py:letters', weight: {0: 1.0, 2: 0.5}}]\n    params: {max_steps: 1}\n"
    )
    with Rubric(resolve_rubric(str(manifest)).entries, workers=1) as opened:
        yield opened


def stage(server: VllmServer, **options: Any) -> AsyncGrpo:
    return AsyncGrpo(**{**SHORT, "vllm_server_base_url": server.root, **options})


def weights(folder: Any) -> dict[str, Any]:
    return dict(load_model(Model("model", str(folder))).state_dict())


def test_a_policy_is_trained_on_what_the_server_samples_with_its_weights(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    context, log = make_context(ROWS, [small_model], rubric)
    result = stage(server).run(context)
    assert result.metrics["steps"] == 4
    assert not (context.work / "weights").exists()
    trained, served = weights(result.checkpoint), dict(server.model.state_dict())
    assert all(torch.equal(trained[name], served[name]) for name in trained)
    assert any(not torch.equal(trained[name], start) for name, start in weights(small_model.path).items())
    assert len(server.reloaded) == 5  # at the start, and after each step

    metrics = {step: values for step, _, values in log.progress if "loss" in values}
    assert metrics[1]["kl"] == pytest.approx(0, abs=1e-6)  # the server has the policy's probabilities
    assert metrics[1]["ratio"] == pytest.approx(1, abs=1e-5)
    records = [record for _, group in log.records for record in group]
    assert {record["group"] for record in records} == set(range(len(records) // 4))
    for record in records:  # weights of the step of the policy that sampled it
        verdict = record["scores"]["letters"]
        assert verdict["weight"] == max(0.5, 1.0 - 0.25 * record["policy_step"])
        assert record["columns"]["reference"]
        assert record["completion"][0]["role"] == "assistant"


def test_a_training_on_texts_whose_server_stops_resumes_when_it_is_back(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    texts = [{**row, "prompt": row["prompt"][0]["content"]} for row in ROWS]
    context, _ = make_context(texts, [small_model], rubric)
    stage(server, max_steps=2).run(context)
    server.shutdown()
    with pytest.raises(InfrastructureError, match=r"does not answer.*run the same command again"):
        stage(server, vllm_server_timeout=0.1).run(context)
    assert (context.work / "checkpoint-2").is_dir()
    context, log = make_context(texts, [small_model], rubric)
    with served_teacher(small_model.path) as other:
        result = stage(other).run(context)
    records = [record for _, group in log.records for record in group]
    assert all(isinstance(record["completion"], str) for record in records)
    assert [step for step, _, values in log.progress if "loss" in values] == [3, 4]
    assert result.metrics["steps"] == 4


def test_a_process_that_is_killed_while_it_samples_is_named_and_the_run_resumes(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    def kills(asked: int) -> int:
        if asked == 24:
            (process,) = (one for one in multiprocessing.active_children() if "rollout-worker" in one.name)
            process.kill()
        return 200

    server.status_of = kills
    context, _ = make_context(ROWS, [small_model], rubric)
    with pytest.raises(StageFailedError, match="ended with status -9"):
        stage(server, save_steps=1).run(context)
    result = stage(server, save_steps=1).run(context)
    assert result.metrics["steps"] == 4


def test_a_prompt_that_the_server_has_no_positions_for_is_named(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    context, _ = make_context(ROWS, [small_model], rubric)
    with pytest.raises(DataError, match=r"its completion has up to 126 .*the server has 128 positions"):
        stage(server, max_completion_length=126).run(context)


def test_what_the_stage_cannot_do_is_refused_before_the_run(
    server: VllmServer, small_model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage(server).preflight(ROWS, [small_model])
    for options, reason in (
        ({"max_steps": -1}, "max_steps is not set"),
        ({"weight_transfer": "nccl"}, "this machine has none"),
        ({"metrics_by": "colour"}, "the column 'colour', which no row has"),
        ({"model_init_kwargs": {"quantization_config": {"load_in_4bit": True}}}, "takes plain weights"),
    ):
        with pytest.raises((ParamsError, DataError), match=reason):
            stage(server, **options).preflight(ROWS, [small_model])
    monkeypatch.setattr(async_grpo, "installed", lambda _: False)
    with pytest.raises(MissingDependencyError, match=r"guerdon\[vllm\]"):
        stage(server).preflight(ROWS, [small_model])


def test_a_server_that_was_started_without_the_endpoints_of_training_is_named(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    server.trains = False
    context, _ = make_context(ROWS, [small_model], rubric)
    with pytest.raises(UsageError, match="VLLM_SERVER_DEV_MODE=1"):
        stage(server).run(context)


def test_a_server_that_samples_from_another_model_is_named(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric
) -> None:
    server.done = lambda *_: (200, {})  # type: ignore[method-assign]
    with torch.no_grad():
        for parameter in server.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    context, _ = make_context(ROWS, [small_model], rubric)
    with pytest.raises(
        UsageError, match=r"does not sample from the policy.*which no other run sends weights"
    ):
        stage(server).run(context)


def test_a_tied_head_and_a_server_on_a_cpu_are_refused(
    make_context: Callable[..., Any], server: VllmServer, small_model: Model, rubric: Rubric, tmp_path: Path
) -> None:
    tied = save_tiny_model(tmp_path / "tied", tie_word_embeddings=True)
    server.device = "cpu"
    context, _ = make_context(ROWS, [Model("tied", str(tied))], rubric)
    with pytest.raises(UsageError, match="a head of its own"):
        stage(server).run(context)


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_vllm_server_samples_with_the_weights_of_each_step(
    make_context: Callable[..., Any], rubric: Rubric, tmp_path: Path
) -> None:
    pytest.importorskip("vllm")
    # vLLM's attention on CPU has no heads of 8 dimensions.
    model = Model("tiny", str(save_tiny_model(tmp_path / "tiny", head_dim=32)))
    context, log = make_context(ROWS, [model], rubric)
    with real_server(model.path, tmp_path / "log", positions=128, requests=16) as url:
        result = AsyncGrpo(**{**SHORT, "vllm_server_base_url": url, "max_staleness": 1}).run(context)
        trained = load_model(Model("trained", str(result.checkpoint)))
        ids = load_tokenizer(model)("1 + 2 = 3").input_ids
        with torch.no_grad():
            logps = trained(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        wanted = logps[range(len(ids) - 1), ids[1:]].tolist()
        assert logprobs(url, ids) == pytest.approx(wanted, abs=1e-4)
    metrics = {step: values for step, _, values in log.progress if "loss" in values}
    assert metrics[1]["kl"] == pytest.approx(0, abs=1e-6)
    assert all(values["sample/staleness_max"] <= 1 for values in metrics.values())


def logprobs(url: str, ids: list[int]) -> list[float]:
    """Return the log-probabilities that the server gives a text's tokens."""
    import requests

    body = {"prompt": ids, "max_tokens": 1, "prompt_logprobs": 0}
    answer = requests.post(f"{url}/v1/completions", json=body, timeout=60).json()
    known = answer["choices"][0]["prompt_logprobs"][1:]
    return [place[str(token)]["logprob"] for place, token in zip(known, ids[1:], strict=True)]
