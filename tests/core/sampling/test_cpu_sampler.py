"""The rollout path for small models: the same distribution as transformers' sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from guerdon.sampling import cpu_sampler as rollouts
from guerdon.sampling.cpu_sampler import LogitsNotFiniteError, obstacle, sample
from guerdon.sampling.sampling import Sampling

Save = Callable[..., Path]
PROMPTS = [[5, 9, 17, 3], [40, 41], [7, 7, 7, 7, 7, 7, 8]]


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def forced(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> list[Any]:
    """The model's own logits at each position from which a completion's token was drawn."""
    with torch.no_grad():
        return [
            model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
            for prompt, completion in zip(prompts, completions, strict=True)
        ]


@pytest.mark.parametrize(
    ("architecture", "overrides"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
        (
            "llama",
            {
                "num_key_value_heads": 4,
                "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4},
            },
        ),
        ("qwen2", {}),
        ("qwen3", {}),
    ],
)
def test_every_token_is_drawn_from_the_models_own_logits(
    tiny_model: Save, monkeypatch: pytest.MonkeyPatch, architecture: str, overrides: dict[str, Any]
) -> None:
    model = load(tiny_model(architecture, **overrides))
    for parameter in model.parameters():  # norms and biases that do nothing would hide mistakes
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.7, 0.3)
    drawn: list[Any] = []

    class Spy(rollouts._Batch):
        def _draw(self, logits: Any) -> Any:
            tokens = super()._draw(logits)
            drawn.append((logits, tokens))
            return tokens

    monkeypatch.setattr(rollouts, "_Batch", Spy)
    monkeypatch.setattr(rollouts, "_WORTH_COMPACTING", 0.0)  # rows stay where they are: draws are in order
    prompts = sorted(PROMPTS)
    completions = sample(model, prompts, Sampling(6, eos_token_ids=[]))

    assert [len(completion) for completion in completions] == [6, 6, 6]
    for row, expected in enumerate(forced(model, prompts, completions)):
        ours = torch.stack([logits[row] for logits, _ in drawn])
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
        assert [int(tokens[row]) for _, tokens in drawn] == completions[row]


@pytest.mark.parametrize("slots", [1, 2, 5, 100])
def test_completions_do_not_depend_on_how_many_fit_at_once(
    tiny_model: Save, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    model = load(tiny_model(initializer_range=1.0))  # nearly deterministic, so the draws can be compared

    class Greedy(rollouts._Batch):
        def _draw(self, logits: Any) -> Any:
            return logits.argmax(-1)

    monkeypatch.setattr(rollouts, "_Batch", Greedy)
    prompts = [[number, 3, number % 4] for number in range(11)] + PROMPTS + PROMPTS
    ends = list(range(0, 257, 7))
    plain = sample(model, prompts, Sampling(20, eos_token_ids=ends))
    one = rollouts._Decoder(model).new_cache(1, 7 + 20).nbytes
    monkeypatch.setattr(rollouts, "_CACHE_BYTES", slots * one)
    assert sample(model, prompts, Sampling(20, eos_token_ids=ends)) == plain

    lengths = {len(completion) for completion in plain}
    assert len(lengths) > 3
    for prompt, completion in zip(prompts, plain, strict=True):
        expected = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=20, eos_token_id=ends
        )
        assert [prompt + completion] == expected.tolist()


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.6}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.2, "temperature": 1.3}],
)
def test_the_distribution_is_that_of_transformers(tiny_model: Save, options: dict[str, Any]) -> None:
    model = load(tiny_model(vocab_size=12, eos_token_id=0))
    prompt, count = [5, 9, 3], 6000
    torch.manual_seed(1)
    ours = Counter(map(tuple, sample(model, [prompt] * count, Sampling(2, eos_token_ids=[], **options))))
    theirs_ids = model.generate(
        torch.tensor([prompt] * count),
        do_sample=True,
        max_new_tokens=2,
        eos_token_id=None,
        **{"top_k": 0, "top_p": 1.0, "temperature": 1.0, **options},
    )
    theirs = Counter(tuple(ids[3:]) for ids in theirs_ids.tolist())

    # Two samples of one distribution: a chi-squared test over the pairs of tokens, rare ones together.
    common = [pair for pair in ours | theirs if ours[pair] + theirs[pair] >= 20]
    tables = [(ours[pair], theirs[pair]) for pair in common]
    rest = (count - sum(a for a, _ in tables), count - sum(b for _, b in tables))
    tables += [rest] if sum(rest) else []
    statistic = sum((a - b) ** 2 / (a + b) for a, b in tables)
    degrees = len(tables) - 1
    assert degrees > 3
    assert statistic < degrees + 5 * (2 * degrees) ** 0.5  # five standard deviations


def test_tokens_of_probability_zero_are_never_drawn(tiny_model: Save) -> None:
    batch = rollouts._Batch(rollouts._Decoder(load(tiny_model())), [[1]], Sampling(1, eos_token_ids=[]))
    logits = torch.full((20_000, 5), -torch.inf)
    logits[:, 1], logits[:, 3] = 0.0, -1.0
    assert set(batch._draw(logits).tolist()) == {1, 3}


def test_an_architecture_that_the_path_does_not_know_is_named(tiny_model: Save) -> None:
    assert obstacle(load(tiny_model("llama"))) is None
    assert "gpt2" in str(obstacle(load(tiny_model("gpt2", n_embd=32, n_layer=1, n_head=2))))
    assert "silu" in str(obstacle(load(tiny_model("llama", hidden_act="gelu"))))
    windowed = tiny_model("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1)
    assert "attention" in str(obstacle(load(windowed)))
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert "rotary" in str(obstacle(load(tiny_model("llama", rope_parameters=dynamic))))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_sample_of_weights_that_are_nan_is_an_error(tiny_model: Save, temperature: float) -> None:
    model = load(tiny_model())
    model.model.embed_tokens.weight.data.fill_(float("nan"))
    with pytest.raises(LogitsNotFiniteError):
        sample(model, [[1, 2, 3]], Sampling(4, temperature=temperature))


def test_sample_ends_where_the_model_has_no_position_left(tiny_model: Save) -> None:
    model = load(tiny_model(max_position_embeddings=9))
    completions = sample(model, [[1, 2, 3], [1] * 8, [1] * 9], Sampling(7))
    assert [len(completion) for completion in completions] == [6, 1, 0]
