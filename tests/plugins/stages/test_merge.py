"""Merging: the sums, the dtype, what cannot be merged, and an interrupted merge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Model
from guerdon.errors import GuerdonError, ParamsError, UsageError
from guerdon.models import load_model, load_tokenizer
from guerdon_plugins.stages.merge import Merge


def weights_of(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.detach().float() for name, value in load_model(model).named_parameters()}


@pytest.fixture
def models(small_model: Model, tmp_path: Path) -> list[Model]:
    """The small model, and two that have moved away from it."""
    found = [small_model]
    for seed in (1, 2):
        moved = load_model(small_model)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in moved.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        folder = tmp_path / f"moved-{seed}"
        moved.save_pretrained(folder)
        load_tokenizer(small_model).save_pretrained(folder)
        found.append(Model(f"moved-{seed}", str(folder)))
    return found


@pytest.mark.parametrize(
    ("params", "factors"),
    [
        ({}, (1 / 3, 1 / 3, 1 / 3)),
        ({"weights": [1, 1, 2]}, (0.25, 0.25, 0.5)),
        ({"method": "task_arithmetic"}, (-1.0, 1.0, 1.0)),
        ({"method": "task_arithmetic", "weights": [0.5, -0.25]}, (0.75, 0.5, -0.25)),
    ],
)
def test_merge_is_the_weighted_sum_of_the_models(
    make_context: Callable[..., Any], models: list[Model], params: dict[str, Any], factors: tuple[float, ...]
) -> None:
    context, log = make_context([], models)
    result = Merge(**params).run(context)
    found, parts = (
        weights_of(Model("merged", str(result.checkpoint))),
        [weights_of(model) for model in models],
    )
    for name, value in found.items():
        expected = sum(factor * part[name].double() for factor, part in zip(factors, parts, strict=True))
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert result.metrics["tables"]["merge"][1]["factor"] == pytest.approx(factors[1])
    assert load_tokenizer(Model("merged", str(result.checkpoint))).chat_template
    assert [step for step, _, _ in log.progress] == [1, 2]


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_factors_have_the_sum_one_in_both_methods(weights: list[float]) -> None:
    names = [str(number) for number in range(len(weights))]
    assert sum(Merge("task_arithmetic", weights)._coefficients(["base", *names])) == pytest.approx(1.0)
    if abs(sum(weights)) > 0.1:
        assert sum(Merge("linear", weights)._coefficients(names)) == pytest.approx(1.0)


def test_merge_of_equal_models_is_the_model(make_context: Callable[..., Any], small_model: Model) -> None:
    context, _ = make_context([], [small_model, small_model])
    result = Merge("task_arithmetic", dtype="bfloat16").run(context)
    merged = load_model(Model("merged", str(result.checkpoint), dtype="auto"))
    assert {parameter.dtype for parameter in merged.parameters()} <= {torch.bfloat16, torch.float32}
    assert Path(str(result.checkpoint), "config.json").read_text().count("bfloat16")
    expected = weights_of(small_model)
    for name, value in weights_of(Model("merged", str(result.checkpoint))).items():
        assert torch.equal(value, expected[name].bfloat16().float())


def test_interrupted_merge_gives_the_same_when_it_runs_again(
    make_context: Callable[..., Any], models: list[Model]
) -> None:
    context, _ = make_context([], models)
    expected = weights_of(Model("merged", str(Merge().run(context).checkpoint)))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Merge().run(type(context)(**{**vars(context), "progress": stop}))
    again = weights_of(Model("merged", str(Merge().run(context).checkpoint)))
    assert all(torch.equal(again[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"weights": [1.0, float("inf")]}, "finite"),
        ({"weights": [1.0, -1.0]}, "sum is 0"),
        ({"dtype": "bfloat61"}, "Did you mean 'bfloat16'"),
    ],
)
def test_params_that_mean_nothing_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        Merge(**params)


@pytest.mark.parametrize(
    ("params", "init", "message"),
    [
        ({}, ["a"], "needs two or more"),
        ({"weights": [1.0]}, ["a", "b"], r"needs 2: one for each model of init \(a, b\)"),
        ({"method": "task_arithmetic", "weights": [1.0, 1.0]}, ["a", "b"], r"after the first \(b\)"),
    ],
)
def test_preflight_refuses_what_the_run_would(params: dict[str, Any], init: list[str], message: str) -> None:
    with pytest.raises(GuerdonError, match=message):
        Merge(**params).preflight(init)


def test_models_of_other_shapes_or_vocabularies_are_refused(
    make_context: Callable[..., Any], models: list[Model], tmp_path: Path
) -> None:
    from transformers import LlamaForCausalLM

    narrow = load_model(models[0])
    config = narrow.config
    config.intermediate_size = 16
    LlamaForCausalLM(config).save_pretrained(tmp_path / "narrow")
    load_tokenizer(models[0]).save_pretrained(tmp_path / "narrow")
    context, _ = make_context([], [models[0], Model("narrow", str(tmp_path / "narrow"))])
    with pytest.raises(UsageError, match=r"other architectures: the parameter 'model\.layers\.0\.mlp"):
        Merge().run(context)

    tokenizer = load_tokenizer(models[1])
    tokenizer.add_tokens(["<other>"])
    tokenizer.save_pretrained(models[1].path)
    context, _ = make_context([], models[:2])
    with pytest.raises(UsageError, match="other vocabularies, such as at the token '<other>'"):
        Merge().run(context)


def test_merge_reads_the_dtype_of_a_model_inside_a_package(
    models: list[Model], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    narrow: Any = load_model(models[1])
    narrow.to(torch.bfloat16).save_pretrained(tmp_path / "carried_merge_model")
    monkeypatch.syspath_prepend(tmp_path)
    assert Merge()._output_dtype(Model("base", "package:carried_merge_model")) == torch.bfloat16


@pytest.fixture
def adapters(small_model: Model, tmp_path: Path) -> list[Model]:
    """Two folders of adapters of the small model, as peft saves them; the second has a tokenizer of its own."""
    import peft

    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = peft.LoraConfig(
            r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"
        )
        adapted: Any = peft.get_peft_model(load_model(small_model), config)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.1)
        folder = tmp_path / f"adapters-{seed}"
        adapted.save_pretrained(folder)
        found.append(Model(f"adapters-{seed}", str(folder)))
    load_tokenizer(small_model).save_pretrained(folder)
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/guerdon/adapters"


def with_adapters(base: Model, adapted: Model) -> dict[str, torch.Tensor]:
    import peft

    whole: Any = peft.PeftModel.from_pretrained(load_model(base), adapted.path)
    merged = whole.merge_and_unload()
    return {name: value.detach().float() for name, value in merged.named_parameters()}


def test_folders_of_adapters_are_merged_with_their_base(
    make_context: Callable[..., Any], small_model: Model, adapters: list[Model], cache: Path
) -> None:
    context, _ = make_context([], [small_model, *adapters])
    result = Merge("task_arithmetic", [0.5, 0.25]).run(context)
    merged = weights_of(Model("merged", str(result.checkpoint)))
    base = weights_of(small_model)
    first, second = (with_adapters(small_model, adapted) for adapted in adapters)
    assert (
        first["model.layers.0.self_attn.q_proj.weight"] != base["model.layers.0.self_attn.q_proj.weight"]
    ).any()
    for name, value in merged.items():
        expected = base[name] + 0.5 * (first[name] - base[name]) + 0.25 * (second[name] - base[name])
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    kept = sorted(path.name for path in cache.iterdir())
    assert len(kept) == 2
    Merge().run(context)
    assert sorted(path.name for path in cache.iterdir()) == kept, "each is merged once"


def test_adapters_are_merged_again_after_a_change(
    small_model: Model, adapters: list[Model], cache: Path
) -> None:
    weights_of(adapters[0])
    config = Path(adapters[0].path, "adapter_config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 32}))
    changed = weights_of(adapters[0])
    assert len(list(cache.iterdir())) == 2
    torch.testing.assert_close(changed, with_adapters(small_model, adapters[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model_name_or_path": None}, "has no 'base_model_name_or_path'. Write the base"),
        ({"base_model_name_or_path": "./gone"}, "base model './gone', a folder that does not exist. Correct"),
        ({"task_type": "SEQ_CLS"}, "are of the task SEQ_CLS. Only those of causal"),
        ({"target_modules": ["nothing"]}, r"cannot be merged into '.*': "),
        ({"r": 3}, r"cannot be merged into '.*': "),
    ],
    ids=str,
)
def test_adapters_that_do_not_fit_are_told(
    make_context: Callable[..., Any],
    small_model: Model,
    adapters: list[Model],
    change: dict[str, Any],
    message: str,
) -> None:
    config = Path(adapters[0].path, "adapter_config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    context, _ = make_context([], [small_model, adapters[0]])
    with pytest.raises(UsageError, match=message):
        Merge().run(context)


def test_adapters_without_weights_or_of_themselves_are_told(adapters: list[Model]) -> None:
    folder = Path(adapters[0].path)
    config = folder / "adapter_config.json"
    before = config.read_text()
    config.write_text(json.dumps(json.loads(before) | {"base_model_name_or_path": str(folder)}))
    with pytest.raises(UsageError, match="name their own folder as the base model"):
        load_model(adapters[0])
    config.write_text("{")
    with pytest.raises(UsageError, match=r"adapter_config\.json' cannot be read"):
        load_model(adapters[0])
    config.write_text(before)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors\. Save the adapters there"):
        load_model(adapters[0])
