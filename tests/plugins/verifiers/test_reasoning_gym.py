"""Reasoning Gym's scorers as a verifier, on rows of the source of the same name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Score
from guerdon.errors import MissingDependencyError
from guerdon_plugins.sources.reasoning_gym import ReasoningGym
from guerdon_plugins.verifiers.reasoning_gym import ReasoningGymVerifier

factory = pytest.importorskip("reasoning_gym.factory", reason="needs the extra 'reasoning-gym'")

TASKS = sorted(set(factory.DATASETS) - {"composite"})  # made of other tasks, and of nothing without a config
HOSTILE = [
    "",
    "0",
    "[]",
    "{}",
    "\x00",
    "((((",
    "1/0",
    "9" * 5000,
    "[1, 2, 3]",
    '{"a": 1}',
    "None",
    "1e999",
    "\u0660",
]


def judge(row: dict[str, Any], completion: str, **params: Any) -> Score:
    verifier = ReasoningGymVerifier(**params)
    return verifier(completion, reference=row["reference"], task=row["task"], metadata=row["metadata"])


@pytest.mark.parametrize("task", TASKS)
def test_every_task_scores_its_reference_1_and_survives_hostile_answers(task: str) -> None:
    for row in ReasoningGym(task, size=2):
        row = json.loads(json.dumps(row))  # as it comes out of a file
        verifier = ReasoningGymVerifier()
        gold = verifier.gold_completion(row["reference"])
        if gold is not None:
            assert judge(row, f"<think>so</think>{gold}").value == 1.0
        for answer in HOSTILE:
            score = judge(row, f"<answer>{answer}</answer>")
            assert score.value is not None
            assert 0 <= score.value <= 1


def test_the_answer_is_read_after_the_reasoning() -> None:
    (row,) = ReasoningGym("leg_counting", size=1)
    right = row["reference"]
    assert judge(row, f"<think>a</think><answer>{right}</answer>").answer == right
    assert judge(row, f"<think>a</think>{right}", answer="final").value == 1.0
    assert judge(row, f"<answer>{right}</answer>", answer="final").value == 1.0
    for completion in (right, f"<think><answer>{right}</answer>", f"<answer>{right}", ""):
        assert judge(row, completion).value == 0.0


def test_an_answer_is_never_run_as_code(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    opened = f"open({str(trace)!r}, 'w').write('x')"
    answers = [
        *(f"[{opened}]", opened, f"(open)({str(trace)!r}, 'w')", f"x + {opened}", f"sin({opened})"),
        *(f"[{opened} for x in [1]][0]", f"(lambda: {opened})()", f"exec({opened!r})", f"1 # \r{opened}"),
    ]
    evaluating = [
        task
        for task in TASKS
        if {"eval", "exec", "parse_expr"} & set(factory.DATASETS[task][0].score_answer.__code__.co_names)
    ]
    assert {"n_queens", "spiral_matrix", "string_insertion", "binary_matrix"} <= set(evaluating)
    assert {"countdown", "puzzle24", "polynomial_multiplication", "simple_integration"} <= set(evaluating)
    for task in evaluating:
        (row,) = ReasoningGym(task, size=1)
        for answer in answers:
            assert judge(row, f"<answer>{answer}</answer>").value == 0.0
    assert not trace.exists()


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("(5 - 2)*5 + 9", 1.0),
        ("9 - -5*(5 - 2)", 1.0),
        ("5*5 - 2/9", 0.0),
        ("8*3*1*1", 0.0),
        ("0x18 # 9 5 5 2", 0.0),
        ("0x18 + 0x0*(9 + 5 + 5 + 2)", 0.0),
        ("x/x + x/x + 9 + 5 + 5 + 2 + x/x", 0.0),
        ("(9 + 5 + 5 + 2)/(x - x)", 0.0),
        ("(9 + 5 + 5 + 2)/(5 - 5)", 0.0),
        ("9*5*2//5 + 6", 0.0),
        ("9 + 5*5 + 2", 0.01),
    ],
)
def test_puzzle24_counts_the_numbers_and_does_not_round(answer: str, value: float) -> None:
    (row,) = ReasoningGym("puzzle24", size=1)
    metadata = {**json.loads(row["metadata"]), "numbers": [9, 5, 5, 2]}
    assert judge({**row, "metadata": metadata}, f"<answer>{answer}</answer>").value == value


def test_an_integral_that_is_left_as_it_is_is_right_only_as_the_reference() -> None:
    (row,) = ReasoningGym("intermediate_integration", size=1)
    reference = "-Integral(x**2*cos(x), x) + C"
    metadata = {**json.loads(row["metadata"]), "variable": "x", "integrand": "-x**2*cos(x)"}
    row = {**row, "reference": reference, "metadata": metadata}
    assert judge(row, f"<answer>{reference}</answer>").value == 1.0
    assert judge(row, "<answer>Integral(-x**2*cos(x), x)</answer>").value == 0.0
    assert judge(row, "<answer>2*sin(x) - x**2*sin(x) - 2*x*cos(x) + C</answer>").value == 1.0


def test_literals_still_earn_what_the_task_gives_for_them() -> None:
    (row,) = ReasoningGym("string_insertion", size=1)
    assert judge(row, f"<answer>{list(row['reference'])}</answer>").value == 0.1


def test_rows_that_name_no_task_are_failed_references() -> None:
    (row,) = ReasoningGym("leg_counting", size=1)
    for change in ({"task": "juggling"}, {"metadata": "{"}, {"metadata": '{"source_config": {"legs": 4}}'}):
        assert judge({**row, **change}, "<answer>4</answer>").failure is Failure.REFERENCE


def test_a_scorer_that_cannot_read_its_own_reference_is_not_a_verdict() -> None:
    (row,) = ReasoningGym("prime_factorization", size=1)
    with pytest.raises(ValueError, match="invalid literal"):
        judge({**row, "reference": "seven"}, "<answer>eight</answer>")


def test_without_reasoning_gym_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MissingDependencyError, match=r"guerdon\[reasoning-gym\]"):
        ReasoningGymVerifier()
