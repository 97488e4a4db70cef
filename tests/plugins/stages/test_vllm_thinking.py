"""Budget forcing with vLLM: as with transformers, each part a request of its own."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import UsageError
from guerdon.models import load_model
from guerdon.sampling.sampling import Sampling
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.sampling.engines import ThinkingEngine, VllmThinkingEngine
from guerdon_plugins.stages.sampling.evaluate import Evaluate
from guerdon_plugins.stages.sampling.generation import Draw, Engine
from guerdon_plugins.stages.sampling.thinking import Marks, Thinking

BUDGETS = [Thinking(3), Thinking(9), Thinking(40), Thinking(40, waits=2, wait=" wait,")]
GREEDY = Sampling(16, temperature=0)


def draws() -> list[Draw]:
    return [Draw(row["prompt"], 100 * number) for number, row in enumerate(islice(Arithmetic(), 12))]


class RecordingVllm:
    """Acts as ``vllm.LLM``: computes with transformers, one request a step, and keeps what it is asked."""

    def __init__(self, **options: Any) -> None:
        self.llm_engine: Any = self
        self.engine_core = SimpleNamespace(shutdown=lambda: None)
        self.model_config = SimpleNamespace(max_model_len=options.get("max_model_len", 256))
        self.model = load_model(Model("vllm", options["model"]))
        self.asked: list[tuple[list[int], dict[str, Any]]] = []
        self.waiting: deque[tuple[str, list[int], dict[str, Any]]] = deque()
        MADE.append(self)

    def enqueue(self, prompts: Sequence[Any], params: Sequence[dict[str, Any]], use_tqdm: bool) -> list[str]:
        names = [str(len(self.asked) + number) for number in range(len(prompts))]
        for name, prompt, one in zip(names, prompts, params, strict=True):
            self.asked.append((prompt["prompt_token_ids"], one))
            self.waiting.append((name, prompt["prompt_token_ids"], one))
        return [f"{name}-0" for name in names]

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[Any]:
        from guerdon.sampling import cpu_sampler

        name, ids, params = self.waiting.popleft()
        sampling = Sampling(params["max_tokens"], params["stop_token_ids"], params["temperature"])
        (made,) = cpu_sampler.sample(self.model, [ids], sampling)
        done = SimpleNamespace(token_ids=made, text="", finish_reason="")
        return [SimpleNamespace(request_id=name, outputs=[done], finished=True)]

    def abort_request(self, requests: Sequence[str], internal: bool) -> None:
        self.waiting.clear()


MADE: list[RecordingVllm] = []


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> list[RecordingVllm]:
    module = SimpleNamespace(LLM=RecordingVllm, SamplingParams=lambda **options: options)
    monkeypatch.setitem(sys.modules, "vllm", module)
    MADE.clear()
    return MADE


def made_by(engine: Engine, sampling: Sampling = GREEDY) -> dict[int, Any]:
    return dict(engine.complete(draws(), sampling))


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_the_completions_are_those_of_transformers(
    small_model: Model, recording: list[RecordingVllm], budget: Thinking
) -> None:
    engine = VllmThinkingEngine(small_model, {}, budget)
    assert made_by(engine) == made_by(ThinkingEngine(small_model, budget))


def test_each_part_has_its_own_limit_ends_and_seed(
    small_model: Model, recording: list[RecordingVllm]
) -> None:
    engine = VllmThinkingEngine(small_model, {}, Thinking(3))
    done = made_by(engine, Sampling(16, temperature=0.7, top_p=0.9, top_k=5))
    (llm,) = recording
    first, second = llm.asked[:12], llm.asked[12:]
    end = Marks.of(Thinking(3), "small", lambda text: engine._tokenizer.encode(text)).end
    assert {params["max_tokens"] for _, params in first} == {3}
    assert all(set(params["stop_token_ids"]) == {*engine._ends, end} for _, params in first)
    assert [params["seed"] for _, params in first] == [100 * number for number in range(12)]
    assert {params["max_tokens"] for _, params in second} == {16}
    assert all(params["stop_token_ids"] == engine._ends for _, params in second)
    seeds = [params["seed"] for _, params in llm.asked]
    assert len(set(seeds)) == len(seeds)
    drawn = {(params["temperature"], params["top_p"], params["top_k"]) for _, params in llm.asked}
    assert drawn == {(0.7, 0.9, 5)}
    for text, params in second:
        assert end in text[-4:], "the thought and its end precede the answer"
        assert params["seed"] < 2**31
    assert all(completion.tokens == len(completion.ids) for completion in done.values())


def test_an_end_of_several_tokens_is_refused_before_the_engine_starts(
    small_model: Model, recording: list[RecordingVllm]
) -> None:
    with pytest.raises(UsageError, match="tokens of model 'small'"):
        VllmThinkingEngine(small_model, {}, Thinking(4, end="= 3,"))
    assert not recording


def test_thoughts_end_where_the_model_has_no_position_left(
    small_model: Model, recording: list[RecordingVllm]
) -> None:
    longest = max(len(ids) for ids in prompt_ids(small_model)) + 8
    engine = VllmThinkingEngine(small_model, {"max_model_len": longest}, Thinking(40))
    engine._engine.model.config.max_position_embeddings = longest
    for place, completion in made_by(engine).items():
        room = longest - len(prompt_ids(small_model)[place])
        assert completion.tokens <= room + 1, "an end of thinking may follow the last position"


def prompt_ids(model: Model) -> list[list[int]]:
    from guerdon.models import load_tokenizer
    from guerdon_plugins.stages.sampling.chat_prompts import MODELS_OWN, all_prompt_ids

    return all_prompt_ids(load_tokenizer(model), draws(), MODELS_OWN)


class Rubric:
    names = ("any",)
    entries = (SimpleNamespace(name="any", within=None, component=SimpleNamespace(kind="reward")),)

    def score(self, rollouts: Sequence[Rollout], step: int = 0, **options: Any) -> list[Judgement]:
        return [Judgement(1.0, {"any": Verdict(Score(1.0), 1.0, 1.0)}) for _ in rollouts]


def check_resumes(
    make_context: Callable[..., Any], model: Model, options: Mapping[str, Any], folder: Path
) -> None:
    """Check that a killed sweep completes what is missing, and ends as a whole one."""
    rows = list(islice(Arithmetic(), 6))
    model = Model("model", str(shutil.copytree(model.path, folder / "model")), dtype="float32")
    swept = Evaluate(
        num_generations=2,
        max_completion_length=16,
        vllm=options,
        thinking=[{"max_tokens": 4}, {"max_tokens": 12, "waits": 1}],
    )
    context, _ = make_context(rows, [model], Rubric())
    whole = swept.run(context)
    file = context.work / "1-1.jsonl"
    logged = file.read_text().splitlines(keepends=True)
    assert len(logged) == 12
    file.write_text("".join(logged[:5]) + logged[5][:10])
    assert swept.run(context) == whole
    again = file.read_text().splitlines(keepends=True)
    assert again[:5] == logged[:5]
    assert sorted(again) == sorted(logged), "the same seeds, the same samples"
    shutil.rmtree(model.path)
    assert swept.run(context) == whole


def test_a_killed_sweep_completes_what_is_missing(
    make_context: Callable[..., Any],
    small_model: Model,
    recording: list[RecordingVllm],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import torch

    def seeded(llm: RecordingVllm) -> list[Any]:
        torch.manual_seed(llm.waiting[0][2]["seed"])
        return step(llm)

    step = RecordingVllm.step
    monkeypatch.setattr(RecordingVllm, "step", seeded)
    check_resumes(make_context, small_model, {}, tmp_path)
    assert len(recording) == 3
    assert len(recording[2].asked) < len(recording[1].asked)


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm(make_context: Callable[..., Any], small_vllm_model: Model, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    options = {"max_model_len": 256, "enforce_eager": True}
    model = Model("small", small_vllm_model.path, dtype="float32")
    for budget in BUDGETS[1:3]:
        engine = VllmThinkingEngine(model, options, budget)
        try:
            assert made_by(engine) == made_by(ThinkingEngine(model, budget))
            sampled = made_by(engine, Sampling(16))
            assert made_by(engine, Sampling(16)) == sampled
            assert dict(engine.complete(draws()[5:6], Sampling(16))) == {0: sampled[5]}
        finally:
            engine.close()
    check_resumes(make_context, small_vllm_model, options, tmp_path)
