"""Outputs and results of any size that a test asks for are judged; what no box holds is the data's fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from guerdon import Failure, Score

pytestmark = pytest.mark.docker

LINES = "\n".join(map(str, range(400_000)))
"""2.7 MB."""


@pytest.fixture
def judged(score: Callable[..., Score]) -> Callable[..., Score]:
    """Judges one program with the CPU time that programs have by default."""
    return partial(score, cpu_s=10)


@pytest.mark.parametrize(
    ("program", "expected", "value"),
    [
        ("print(*range(400_000), sep='\\n')", LINES, 1.0),
        ("print(*range(399_999), sep='\\n')", LINES, 0.0),
        ("import sys\nsys.stderr.write('x' * 1_000_000)\nprint(1)", "1", 1.0),
        ("while True: print(1)", "1", 0.0),
    ],
)
def test_output_is_judged_whatever_its_size(
    judged: Callable[..., Score], program: str, expected: str, value: float
) -> None:
    assert judged(program, {"inputs": [""], "outputs": [expected]}).value == value


def test_stdout_bytes_bounds_what_is_longer_than_expected(judged: Callable[..., Score]) -> None:
    program = "print(' ' * 3_000_000 + '1')"
    reference = {"inputs": [""], "outputs": ["1"]}
    assert judged(program, reference).value == 0.0
    assert judged(program, reference, stdout_bytes=4_000_000).value == 1.0


def test_result_is_judged_whatever_its_size(judged: Callable[..., Score]) -> None:
    reference = {"fn_name": "f", "inputs": [[400_000]], "outputs": [list(range(400_000))]}
    assert judged("def f(n): return list(range(n))", reference).value == 1.0


def test_prints_of_a_function_do_not_end_it(judged: Callable[..., Score]) -> None:
    reference = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [1, 2]}
    assert judged("def f(n):\n    print('x' * 2_000_000)\n    return n", reference).value == 1.0


def test_input_that_fits_into_no_box_is_a_fault_of_the_reference(judged: Callable[..., Score]) -> None:
    score = judged("print(1)", {"inputs": ["x" * (140 << 20)], "outputs": ["1"]})
    assert score.failure is Failure.REFERENCE
