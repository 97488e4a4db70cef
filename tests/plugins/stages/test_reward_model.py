"""Reward models by TRL's trainer: what is learned, what is held out, which pairs are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

from guerdon import Model
from guerdon.errors import DataError, ParamsError, UsageError
from guerdon.models import load_reward_model
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params
from guerdon_plugins.stages.trl.reward_model import RewardModel

SHORT: dict[str, Any] = {"max_steps": 12, "per_device_train_batch_size": 16, "learning_rate": 5e-3}


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """The polite reply is the preferred one."""
    rng = Random(seed)
    return [
        {
            "prompt": said("user", f"help me with {rng.randint(0, 10**6)}"),
            "chosen": said("assistant", f"please {rng.randint(0, 99)} thank you"),
            "rejected": said("assistant", f"go away {rng.randint(0, 99)}"),
            "source": "made up",
        }
        for _ in range(count)
    ]


def as_text(row: dict[str, Any]) -> dict[str, str]:
    return {name: row[name][0]["content"] for name in ("prompt", "chosen", "rejected")}


def test_params_are_trl_s_options() -> None:
    def check(**params: Any) -> dict[str, Any]:
        component = Component(find_plugin("reward_model", [Kind.STAGE]), Kind.STAGE, params)
        return check_params(component, RewardModel)

    assert check(center_rewards_coefficient=0.01, heldout_pairs=0.2)
    with pytest.raises(ParamsError, match="Did you mean 'center_rewards_coefficient'"):
        check(center_reward_coefficient=0.01)
    with pytest.raises(ValueError, match="heldout_pairs is 1"):
        RewardModel(heldout_pairs=1)


def whole(row: dict[str, Any]) -> dict[str, Any]:
    """The prompt inside of both conversations, as many data sets of the hub have it."""
    return {name: [*row["prompt"], *row[name]] for name in ("chosen", "rejected")}


@pytest.mark.parametrize("form", [dict, as_text, whole], ids=["conversations", "texts", "whole"])
def test_a_causal_model_learns_what_is_preferred(
    make_context: Callable[..., Any], small_model: Model, form: Callable[..., Any]
) -> None:
    equal = {**pairs(1)[0], "chosen": said("assistant", "a"), "rejected": said("assistant", "a")}
    context, log = make_context([form(row) for row in [*pairs(100), equal]], [small_model])
    result = RewardModel(**SHORT, heldout_pairs=0.2).run(context)

    assert result.metrics["steps"] == 12
    assert result.metrics["equal_pairs"] == 1
    assert result.metrics["pairs"] + result.metrics["heldout_pairs"] == 100
    assert result.metrics["heldout_pairs"] > 5
    assert result.metrics["heldout_accuracy"] > 0.9
    assert result.metrics["heldout_margin"] > 0
    assert [step for step, _, _ in log.progress][-1] == 12
    assert AutoConfig.from_pretrained(str(result.checkpoint)).num_labels == 1
    assert AutoTokenizer.from_pretrained(result.checkpoint).chat_template
    load_reward_model(Model("reward", str(result.checkpoint)))


def test_the_same_seed_gives_the_same_head(
    make_context: Callable[..., Any], small_model: Model, tmp_path: Path
) -> None:
    heads = []
    for seed in (1, 1, 2):
        context, _ = make_context(pairs(40), [small_model], seed=seed)
        RewardModel(**SHORT | {"max_steps": 1}).run(context)
        heads.append(load_file(context.output / "model.safetensors")["score.weight"])
        shutil.rmtree(tmp_path / "work")
    assert (heads[0] == heads[1]).all()
    assert (heads[0] != heads[2]).any()


def test_a_model_without_a_head_judges_nothing(small_model: Model) -> None:
    with pytest.raises(UsageError, match=r"no weights for score.weight, so its rewards would be random"):
        load_reward_model(small_model)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "p", "chosen": "c"}], "row 0 .* has no 'rejected', only prompt, chosen"),
        ([*pairs(1), {**pairs(1)[0], "chosen": "text"}], "'chosen' of row 1 .* is a str"),
        ([{"prompt": "p", "chosen": "c", "rejected": None}], "'rejected' of row 0 .* is a NoneType"),
        (
            [{**pairs(1)[0], "rejected": pairs(1)[0]["chosen"]}],
            "no pair is left to train on: 1 have equal replies",
        ),
    ],
    ids=["missing", "mixed", "null", "equal"],
)
def test_pairs_that_teach_nothing_are_refused(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], message: str
) -> None:
    context, _ = make_context(rows, [small_model])
    with pytest.raises(DataError, match=message):
        RewardModel(**SHORT).run(context)


def test_pairs_beyond_the_longest_length_are_told(
    make_context: Callable[..., Any], small_model: Model
) -> None:
    context, _ = make_context(pairs(10), [small_model])
    with pytest.raises(DataError, match="longer than max_length, 2 tokens"):
        RewardModel(**SHORT, max_length=2).run(context)


def test_a_killed_training_ends_as_an_unbroken_one(
    run_killed_and_whole: Callable[..., tuple[Path, Path]], small_model: Model
) -> None:
    killed, whole = run_killed_and_whole("reward_model", small_model.path)
    ours, theirs = (load_file(folder / "output" / "model.safetensors") for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads(
        (whole / "metrics.json").read_text()
    )


def test_pairs_longer_than_max_length_are_counted_and_named(
    make_context: Callable[..., Any], small_model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": "hi", "chosen": "yes", "rejected": "no"} for _ in range(6)]
    rows += [{"prompt": "hi", "chosen": "yes", "rejected": "no, " * 50}] * 2
    context, _ = make_context(rows, [small_model])
    result = RewardModel(heldout_pairs=0.0, max_length=24, max_steps=1).run(context)
    assert (result.metrics["pairs"], result.metrics["too_long_pairs"]) == (6, 2)
    assert (
        "2 of 8 pairs (train) are longer than max_length, 24 tokens, and left out: numbers 6, 7."
        in caplog.text
    )
