"""TRL's options as data: held to TRL itself."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import GuerdonError, ParamsError
from guerdon.options import libraries
from guerdon.options.conflicts import OPTIMIZERS, TRACKERS, check_lora, check_options
from guerdon.options.libraries import CONFIGS, describe, options_of
from guerdon.options.trl import CHOICES, GRPO, LORA, OWNED, RANGES, trl_parameters
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import find_problems

pytest.importorskip("trl")


@pytest.mark.parametrize("config", CONFIGS)
def test_options_of_cache_says_what_the_config_says(config: str) -> None:
    described = describe(config)
    assert {name: option.type for name, option in options_of(config).items()} == {
        name: option["type"] for name, option in described.items()
    }


def test_shipped_catalogue_describes_the_versions_that_constraints_name() -> None:
    """After a change of a version: python -m guerdon.options.libraries core/guerdon/options/catalogue.json."""
    constraints = (Path(__file__).parents[3] / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", constraints, re.MULTILINE))
    shipped = json.loads(libraries.SHIPPED.read_text(encoding="utf-8"))["versions"]
    assert shipped == {library: pinned[library] for library in shipped}


def test_options_of_other_versions_are_read_once_and_cached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = json.loads(libraries.SHIPPED.read_text(encoding="utf-8"))["catalogue"]
    changed = {**shipped, "llama_options": ["of_another_version"]}
    reads: list[None] = []

    def described() -> str:
        reads.append(None)
        return json.dumps(changed)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("guerdon.options.libraries.metadata.version", lambda library: "99.0")
    monkeypatch.setattr(libraries, "_described", described)
    catalogue = libraries._catalogue.__wrapped__
    assert [catalogue()["llama_options"] for _ in range(2)] == [["of_another_version"]] * 2
    assert len(reads) == 1


def test_choices_are_those_that_trl_describes() -> None:
    for config, choices in CHOICES.items():
        for name, values in choices.items():
            doc = options_of(config or GRPO)[name].doc
            undocumented = [
                value
                for value in values
                if isinstance(value, str) and value not in doc and name not in _SAID_ELSEWHERE
            ]
            assert undocumented == [], (config, name)


_SAID_ELSEWHERE = (
    "log_level_replica",
    "packing_strategy",
    "truncation_mode",
    "loss_type",
    "train_sampling_strategy",
)
"""Options some of whose values TRL takes without describing them there."""


def test_tables_name_options_and_trackers_that_exist() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = {name for config in CONFIGS if config != LORA for name in options_of(config)}
    assert RANGES.keys() - known == set()
    assert set(OWNED) - known == set()
    assert set(TRACKERS) == set(INTEGRATION_TO_CALLBACK)
    optimizers = str(options_of(GRPO)["optim"].type)
    assert [part for part in OPTIMIZERS if part not in optimizers] == ["torchao", "apex"]


def test_defaults_are_those_that_the_stage_sets() -> None:
    defaults = {parameter.name: parameter.default for parameter in trl_parameters(GRPO)}
    assert (defaults["save_steps"], defaults["logging_steps"]) == (20, 1)


def test_check_lora_tells_every_mistake() -> None:
    with pytest.raises(ParamsError) as caught:
        check_lora(
            {"rr": 8, "lora_dropout": 2.0, "bias": "some", "r": 8, "init_lora_weights": "pissa_niter_16"}
        )
    assert len(str(caught.value).splitlines()) == 3


VALUES: dict[str, list[Any]] = {
    "num_generations": [0, 1, 2, 3, 4, 8, None, -2, 2.5, "4"],
    "per_device_train_batch_size": [0, 1, 4, 6, 8, -1],
    "gradient_accumulation_steps": [0, 1, 2, 3],
    "generation_batch_size": [None, 0, 4, 8, 9, 16],
    "steps_per_generation": [None, 0, 1, 2, 3],
    "fp16": [True, False],
    "bf16": [True, False, None],
    "loss_type": ["grpo", "dapo", "gpro", 3, None],
    "scale_rewards": ["group", True, "none", "batches"],
    "lr_scheduler_type": ["linear", "cosine", "cosin", "reduce_lr_on_plateau", "greedy", 1],
    "optim": ["adamw_torch", "sgd", "adam"],
    "warmup_steps": [0, 0.1, 10, -1],
    "logging_steps": [0, 1, 0.5, 1.5, 10],
    "save_steps": [0, 1, 20, 2.5],
    "save_total_limit": [2, 3, None],
    "dataloader_num_workers": [0, 2, -1],
    "dataloader_prefetch_factor": [None, 2],
    "torch_empty_cache_steps": [None, 0, 3],
    "auto_find_batch_size": [True, False],
    "log_completions_hub_repo": [None, "a/b"],
    "log_completions": [True, False],
    "vllm_importance_sampling_mode": ["token_truncate", "sequence_mask", "token"],
    "vllm_importance_sampling_clip_min": [None, 1.0, 4.0],
    "vllm_importance_sampling_clip_max": [None, 0.5, 3.0],
    "hub_strategy": ["every_save", "never"],
    "logging_strategy": ["steps", "no", "sometimes"],
    "debug": ["", "underflow_overflow", "overflow"],
    "pad_to_multiple_of": ["auto", 8, "eight"],
    "learning_rate": [1e-6, "fast"],
    "report_to": ["none", [], "tensorbord"],
}


def refused_by_check(options: dict[str, Any]) -> bool:
    component = load_component(find_plugin("guerdon/grpo", [Kind.STAGE]), options, None)
    if find_problems(component, component.loaded)[1]:
        return True
    try:
        check_options(GRPO, options)
    except GuerdonError:
        return True
    return False


def refused_by_trl(options: dict[str, Any], folder: Path) -> str:
    from guerdon.grpo.config import grpo_config

    try:
        grpo_config(options, folder, 0)
    except Exception as error:  # whatever it is, the run would end by it
        return f"{type(error).__name__}: {error}"
    return ""


def test_check_refuses_each_set_of_options_that_trl_refuses(tmp_path: Path) -> None:
    chance = random.Random(0)
    refused = 0
    for _ in range(400):
        names = chance.sample(sorted(VALUES), chance.randint(1, 4))
        options = {name: chance.choice(VALUES[name]) for name in names}
        reason = refused_by_trl(options, tmp_path)
        refused += bool(reason)
        assert not reason or refused_by_check(options), (options, reason)
    assert refused > 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_steps": 0}, "trains nothing; give 1 or more, or -1"),
        ({"max_steps": -2}, "at least -1"),
        ({"delta": -3.0}, "above 0"),
        ({"model_init_kwargs": "dtype"}, "give a mapping"),
        ({"lr_scheduler_kwargs": "dtype"}, "give a mapping"),
        ({"lrn": 1}, "unknown param 'lrn'"),
        ({"batch_size": 1}, "Near: .*per_device_train_batch_size"),
    ],
)
def test_values_that_a_run_would_refuse_or_train_nothing_with(options: dict[str, Any], words: str) -> None:
    component = load_component(find_plugin("guerdon/grpo", [Kind.STAGE]), options, None)
    (problem,) = find_problems(component, component.loaded)[1]
    assert re.search(words, problem.message)
    assert "none" not in problem.message


@pytest.mark.parametrize(
    "options", [{"max_steps": -1}, {"deepspeed": "zero3.json"}, {"model_init_kwargs": {"a": 1}}]
)
def test_values_that_are_fine(options: dict[str, Any]) -> None:
    component = load_component(find_plugin("guerdon/grpo", [Kind.STAGE]), options, None)
    assert find_problems(component, component.loaded)[1] == []
