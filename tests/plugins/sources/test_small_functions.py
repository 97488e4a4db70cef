"""Small functions: their own solutions pass, near misses do not, and problems stay on one side of a split."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from guerdon.run.data import is_heldout
from guerdon_plugins.sources.miniature.small_functions import SmallFunctions


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return list(islice(SmallFunctions(seed), count))


def passes(row: dict[str, Any], body: str) -> bool:
    """Run HumanEval's harness on a body; it is this repository's own text, so no sandbox is needed."""
    reference = row["reference"]
    scope: dict[str, Any] = {}
    exec(reference["prompt"] + body + "\n" + reference["test"], scope)
    try:
        scope["check"](scope[reference["entry_point"]])
    except AssertionError:
        return False
    return True


def test_the_seed_decides_the_rows() -> None:
    assert rows(30, seed=1) == rows(30, seed=1) != rows(30, seed=2)


def test_every_problem_has_a_solution_that_passes() -> None:
    problems = rows(1500)
    assert len({row["split_key"] for row in problems}) > 200
    assert all(passes(row, row["reference"]["canonical_solution"]) for row in problems)


def test_no_constant_passes() -> None:
    for row in rows(300):
        for constant in ("None", "True", "False", "0", "1", "[]", "''"):
            assert not passes(row, f"    return {constant}\n")


def near_misses(solution: str) -> Iterator[str]:
    for right, wrong in ((" > ", " >= "), (" < ", " <= "), ("max(", "min("), (" + ", " - "), ("[-1]", "[0]")):
        if right in solution:
            yield solution.replace(right, wrong)


@pytest.mark.parametrize("operator", [" > ", " < ", "max(", " + ", "[-1]"])
def test_near_misses_fail(operator: str) -> None:
    solutions = [
        (row, row["reference"]["canonical_solution"])
        for row in rows(1000)
        if operator in row["reference"]["canonical_solution"]
    ]
    assert solutions
    for row, solution in solutions:
        for wrong in near_misses(solution):
            assert not passes(row, wrong), (wrong, row["reference"]["test"])


def test_the_same_problem_in_other_words_is_on_one_side_of_the_split() -> None:
    sides: dict[str, set[bool]] = {}
    wordings: dict[str, set[str]] = {}
    for row in rows(1500) + rows(1500, seed=1):
        sides.setdefault(row["split_key"], set()).add(is_heldout(row, 0.3))
        wordings.setdefault(row["split_key"], set()).add(row["reference"]["prompt"])
    assert {len(side) for side in sides.values()} == {1}
    assert max(map(len, wordings.values())) > 1


def test_the_prompt_shows_the_head_and_none_of_the_tests() -> None:
    for row in rows(100):
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert row["reference"]["prompt"] in message["content"]
        assert "assert" not in message["content"]
        assert row["reference"]["canonical_solution"] not in message["content"]
