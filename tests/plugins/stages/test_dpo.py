"""DPO by TRL's trainer: what is learned, which rows make pairs, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Model
from guerdon.errors import DataError, GuerdonError, ParamsError
from guerdon.models import load_model, load_tokenizer
from guerdon.plugins.component import Component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params
from guerdon_plugins.stages.trl.dpo import Dpo
from guerdon_plugins.stages.trl.pairs import read_pairs

SHORT: dict[str, Any] = {"max_steps": 6, "per_device_train_batch_size": 8, "learning_rate": 2e-3}


def pairs(count: int) -> list[dict[str, Any]]:
    """The short reply is the preferred one."""
    return [
        {"prompt": f"{number} + 1 = ", "chosen": f"{number + 1}", "rejected": f"no {number} idea at all"}
        for number in range(count)
    ]


def as_messages(row: dict[str, Any]) -> dict[str, Any]:
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return {name: [{"role": role, "content": row[name]}] for name, role in roles.items()}


def judged(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The completions as the stage sample writes them, with one in the middle."""
    found = ((row["chosen"], 1.0), ("what?", 0.5), (row["rejected"], 0.0))
    return [
        {"prompt": row["prompt"], "completion": text, "provenance": {"reward": reward}}
        for text, reward in found
    ]


def test_params_are_trl_s_options() -> None:
    def check(**params: Any) -> dict[str, Any]:
        component = Component(find_plugin("dpo", [Kind.STAGE]), Kind.STAGE, params)
        return check_params(component, Dpo)

    assert check(beta=0.2, loss_type=["ipo"], heldout_pairs=0.2)
    with pytest.raises(ParamsError, match="Did you mean 'label_smoothing'"):
        check(label_smothing=0.1)
    with pytest.raises(ParamsError, match="ref_model_mixup_alpha"):
        check(ref_model_mixup_alpha=2.0)
    with pytest.raises(ValueError, match="heldout_pairs is -1"):
        Dpo(heldout_pairs=-1)


@pytest.mark.parametrize(
    "options", [{}, {"peft": {"r": 4, "target_modules": "all-linear"}}], ids=["all", "lora"]
)
def test_a_model_learns_the_preferred_replies(
    make_context: Callable[..., Any], small_model: Model, options: dict[str, Any]
) -> None:
    rate = {"learning_rate": 2e-2} if options else {}
    equal = {"prompt": "a", "chosen": "b", "rejected": "b"}
    context, log = make_context([*map(as_messages, pairs(60)), as_messages(equal)], [small_model])
    result = Dpo(**{**SHORT, **rate}, **options, heldout_pairs=0.2).run(context)
    assert result.metrics["equal_pairs"] == 1
    assert result.metrics["pairs"] + result.metrics["heldout_pairs"] == 60
    assert result.metrics["heldout_accuracy"] > 0.9
    assert result.metrics["heldout_margin"] > 0
    assert max(step for step, _, _ in log.progress) == 6
    saved = Model("dpo", str(result.checkpoint))
    assert load_tokenizer(saved).chat_template
    before, after = (dict(load_model(model).named_parameters()) for model in (small_model, saved))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)


def test_judged_completions_give_the_pairs_of_their_best_and_worst() -> None:
    rows = [row for pair in pairs(20) for row in judged(pair)]
    unjudged = [{"prompt": "x", "completion": "y", "reward": None}]
    from_judged, plain = read_pairs([*rows, *unjudged], 0.0), read_pairs(pairs(20), 0.0)
    assert from_judged.train.to_list() == plain.train.to_list()
    assert from_judged.equal == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-2, 2)), min_size=1, max_size=20))
def test_pairs_of_judged_completions_have_the_extreme_rewards(completions: list[tuple[str, int]]) -> None:
    rows = [{"prompt": prompt, "completion": f"{reward}", "reward": reward} for prompt, reward in completions]
    rewards = {
        prompt: [reward for name, reward in completions if name == prompt] for prompt, _ in completions
    }
    expected = {
        (prompt, str(max(own)), str(min(own))) for prompt, own in rewards.items() if max(own) > min(own)
    }
    if not expected:
        with pytest.raises(DataError, match=f"{len(rewards)} have equal replies"):
            read_pairs(rows, 0.0)
        return
    found = read_pairs(rows, 0.0)
    assert {(row["prompt"], row["chosen"], row["rejected"]) for row in found.train} == expected
    assert found.equal == len(rewards) - len(expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "p", "chosen": "c"}], "row 0 .* has no 'rejected', only prompt, chosen"),
        ([{"prompt": "p", "completion": "c"}], "row 0 of the judged completions has no 'reward'"),
        ([{"completion": "c", "reward": 1.0}], "row 0 of the judged completions has no 'prompt'"),
        ([{"prompt": "p", "completion": "c", "reward": "1"}], "row 0 .* has the reward '1'"),
        ([{"prompt": "p", "completion": "c", "reward": float("nan")}], "row 0 .* has the reward nan"),
        ([*judged(pairs(1)[0]), *pairs(1)], "row 3 of the judged completions has no 'completion'"),
        (
            [{"prompt": "p", "completion": "c", "reward": 1.0}],
            "no pair is left to train on: 1 have equal replies",
        ),
        ([{"prompt": "p", "completion": "c", "reward": None}], "no pair is left to train on"),
    ],
)
def test_rows_that_make_no_pairs_are_refused(
    make_context: Callable[..., Any], small_model: Model, rows: list[dict[str, Any]], message: str
) -> None:
    context, _ = make_context(rows, [small_model])
    with pytest.raises(DataError, match=message):
        Dpo(**SHORT).run(context)


@pytest.mark.parametrize(
    ("options", "init", "message"),
    [
        ({"loss_type": ["sigmod"]}, ["base"], "Did you mean 'sigmoid'"),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, ["base"], "loss_weights has 1 numbers"),
        ({"sync_ref_model": True, "peft": {"r": 2}}, ["base"], "peft is set"),
        (
            {"sync_ref_model": True, "precompute_ref_log_probs": True},
            ["base"],
            "precompute_ref_log_probs is set",
        ),
        ({"loss_type": ["exo_pair"]}, ["base"], "label_smoothing is 0"),
        ({"loss_type": ["aot"], "use_weighting": True}, ["base"], "sort the pairs"),
        ({"loss_type": ["aot"], "f_divergence_type": "forward_kl"}, ["base"], "the loss aot does not have"),
        ({}, ["a", "b"], "init names 2 models"),
        ({"peft": {"rank": 2}}, ["base"], "'rank'"),
    ],
)
def test_preflight_refuses_what_the_run_would(options: dict[str, Any], init: list[str], message: str) -> None:
    with pytest.raises(GuerdonError, match=message):
        Dpo(**options).preflight(pairs(4), [], init)


def test_prompts_longer_than_max_length_are_left_out_and_counted(
    make_context: Callable[..., Any], small_model: Model
) -> None:
    long = {"prompt": "again " * 60, "chosen": "a", "rejected": "b"}
    context, _ = make_context([*pairs(10), long], [small_model])
    result = Dpo(**{**SHORT, "max_steps": 1}, max_length=40, heldout_pairs=0).run(context)
    assert (result.metrics["pairs"], result.metrics["left_out_pairs"]) == (10, 1)
    context, _ = make_context([long], [small_model])
    with pytest.raises(DataError, match="max_length, 40, tokens or more"):
        Dpo(**SHORT, max_length=40, heldout_pairs=0).run(context)


def test_folder_of_the_output_has_no_options(make_context: Callable[..., Any], small_model: Model) -> None:
    context, _ = make_context(pairs(8), [small_model])
    result = Dpo(**{**SHORT, "max_steps": 1}, heldout_pairs=0).run(context)
    assert not Path(str(result.checkpoint), "training_args.bin").exists()
