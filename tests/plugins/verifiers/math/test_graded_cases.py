"""The graded cases, the real golds and the real completions of the shared folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_plugins.verifiers.math import MathVerifier, check_references


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_every_graded_case_that_is_not_a_matter_of_convention(shared_data: Path) -> None:
    verifier = MathVerifier()
    wrong = [
        (row["reference"][:80], row["completion"][-80:])
        for row in rows(shared_data / "cases/math.jsonl")
        if not row.get("policy")
        and verifier(row["completion"], row["reference"]).value != float(row["expected"] == "correct")
    ]
    assert wrong == []


def test_every_fault_that_was_found_in_the_field(shared_data: Path) -> None:
    wrong = [
        (row["id"], row["reference"], row["completion"][-80:])
        for row in rows(shared_data / "cases/field_faults.jsonl")
        if row["area"] == "math"
        and isinstance(row["expected"], float)
        and MathVerifier(**row["params"])(row["completion"], row["reference"]).value != row["expected"]
    ]
    assert wrong == []


@pytest.mark.parametrize("wrapper", ["{}", "${}$", "\\boxed{{{}}}"])
@pytest.mark.parametrize("name", ["math500", "gsm8k_test", "amc23", "aime24"])
def test_identity_on_real_golds(shared_data: Path, name: str, wrapper: str) -> None:
    verifier = MathVerifier()
    golds = [row["answer"].rpartition("####")[2].strip() for row in rows(shared_data / f"data/{name}.jsonl")]
    wrong = [
        gold for gold in golds if verifier(f"so $\\boxed{{ {gold} }}$.", wrapper.format(gold)).value != 1
    ]
    assert wrong == []


def test_whole_gsm8k_solutions_are_references(shared_data: Path) -> None:
    assert check_references(row["answer"] for row in rows(shared_data / "data/gsm8k_test.jsonl")) == []


def test_real_completions_against_the_labels_that_are_right(shared_data: Path) -> None:
    verifier = MathVerifier()
    differing = set()
    for row in rows(shared_data / "data/qwen_math_completions.jsonl"):
        correct = bool(verifier(row["completion"], row["reference"]).value)
        if correct != row["label"]:
            differing.add((row["reference"], correct))
    # One label is wrong: 10000 is the reference's 10{,}000.
    assert differing == {("10{,}000", True)}


def test_a_garbled_gold_of_the_completions_is_reported(shared_data: Path) -> None:
    references = dict.fromkeys(
        row["reference"] for row in rows(shared_data / "data/qwen_math_completions.jsonl")
    )
    assert [problem.reference for problem in check_references(references)] == ["4:30p.."]
