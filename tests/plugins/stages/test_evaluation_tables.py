"""The tables of an evaluation: intervals, paired differences and groups of prompts."""

from __future__ import annotations

import random

import pytest

from guerdon_plugins.shared.intervals import Part
from guerdon_plugins.stages.sampling.measures import Measures
from guerdon_plugins.stages.sampling.tables import differences, evaluation, grouped


def measures(share: float, seed: int, prompts: int = 60) -> Measures:
    source = random.Random(seed)
    return {
        "math_greedy": [(float(source.random() < share), 1) for _ in range(prompts)],
        "math_mean@4": [(float(sum(source.random() < share for _ in range(4))), 4) for _ in range(prompts)],
    }


MODELS = {"base": measures(0.3, 1), "zero": measures(0.8, 2)}


def test_evaluation_has_each_number_with_its_interval() -> None:
    base, zero = evaluation(MODELS, {"zero": 2}, seed=0)
    for row in (base, zero):
        for label in ("math_greedy", "math_mean@4"):
            assert row[f"{label}_low"] < row[label] < row[f"{label}_high"]
    assert base["math_mean@4_high"] < zero["math_mean@4_low"]
    assert (zero["refused_prompts"], "refused_prompts" in base) == (2, False)
    assert evaluation(MODELS, {"zero": 2}, seed=0) == [base, zero]


def test_differences_are_paired_and_tested() -> None:
    (row,) = differences(MODELS, "base", seed=0)
    (back,) = differences(MODELS, "zero", seed=0)
    assert (row["pair"], back["pair"]) == ("zero - base", "base - zero")
    assert row["math_mean@4"] == pytest.approx(-back["math_mean@4"])
    assert 0 < row["math_mean@4_low"] < row["math_mean@4"] < row["math_mean@4_high"]
    assert row["math_mean@4_p"] < 0.001


def test_differences_of_one_model_with_itself_are_none() -> None:
    (row,) = differences({"a": MODELS["base"], "b": MODELS["base"]}, "a", seed=0)
    assert [row[f"math_greedy{end}"] for end in ("", "_low", "_high", "_p")] == [0.0, 0.0, 0.0, 1.0]


def test_differences_of_correlated_models_are_narrower_than_their_intervals() -> None:
    base = MODELS["base"]["math_mean@4"]
    better: list[Part] = [(min(4.0, total + 1), 4) for total, _ in base]
    models = {"base": {"m": base}, "better": {"m": better}}
    (row,) = differences(models, "base", seed=0)
    first, _ = evaluation(models, {}, seed=0)
    assert row["m_high"] - row["m_low"] < 0.5 * (first["m_high"] - first["m_low"])


def test_differences_count_only_prompts_that_both_models_have() -> None:
    one: list[Part] = [(1.0, 1), (0.0, 0), (1.0, 1)]
    other: list[Part] = [(0.0, 1), (1.0, 1), (0.0, 0)]
    (row,) = differences({"a": {"m": one, "only": one}, "b": {"m": other}}, "b", seed=0)
    assert row == {"pair": "a - b", "m": 1.0, "m_p": 1.0}


def test_grouped_has_a_row_for_each_value_and_model_and_the_groups_add_up() -> None:
    rows = [{"prompt": "x", "task": "sum" if number % 3 else "word"} for number in range(60)]
    table = grouped(MODELS, rows, "task", seed=0)
    assert [(row["model"], row["group"], row["prompts"]) for row in table] == [
        ("base", "task=word", 20), ("zero", "task=word", 20), ("base", "task=sum", 40), ("zero", "task=sum", 40)
    ]  # fmt: skip
    whole, _ = evaluation(MODELS, {}, seed=0)
    both = sum(row["math_greedy"] * row["prompts"] for row in table if row["model"] == "base")
    assert both / 60 == pytest.approx(whole["math_greedy"])
