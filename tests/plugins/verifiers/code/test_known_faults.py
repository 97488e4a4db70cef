"""Programs and tests that were once judged wrongly, as others reported them: each has its right score now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Score
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_plugins.verifiers.code.compare import same_output

pytestmark = pytest.mark.docker


RIGHT = "def add(a, b): return a + b\ndef f(x): return x + 1\ndef task_func(x): return 2 * x\n"
SOLUTION = "class Solution:\n    def twoSum(self, nums, target): return [0, 1]\n"
LARGE = {
    # The file holds the first characters of these references only.
    "output 1.3 MB": {"inputs": [""], "outputs": ["\n".join(map(str, range(200_000)))]},
    "fn arg > 8 MiB": {"fn_name": "f", "inputs": [["x" * (9 << 20)]], "outputs": [9 << 20]},
    "special judge 9 MB input": {"inputs": ["x" * (9 << 20)], "outputs": [str(9 << 20)]},
}
BETTER: dict[str, float | str] = {
    # These tests cross the process border now.
    "class isinstance": 1.0,
    "class context manager": 1.0,
    "async function": 1.0,
    # The image has pandas now, so the data is not broken.
    "broken data: test_imports lacks": 1.0,
    "broken data: prompt imports what the image lacks": 1.0,
    # The tests are run as what they are, and the program defines nothing of what they call.
    "tests that never call the candidate: BigCodeBench row (unittest)": 0.0,
    "tests that never call the candidate: def test(candidate)": 0.0,
    "tests that never call the candidate: if __name__ == '__main__'": 0.0,
    # The imports that the data forgets are found, so a right program is paid.
    "C2-broken-tests-score-0-01": 1.0,
    "C2-broken-tests-score-0-05": 1.0,
    "C2-broken-tests-score-0-07": 1.0,
}
ELSEWHERE = {
    "CLONE_PARENT: a child of the zygote outlives the job": "tests/sandbox/test_hostile.py",
    "mark for the next job": "tests/sandbox/test_hostile.py",
    "28 loops beside 30 honest programs, 2 boxes, defaults": "tests/plugins/verifiers/code/test_neighbours.py",
    "guerdon sandbox build --method dockerfile": "tests/sandbox/test_cli.py",
    "guerdon sandbox run FILE that is not UTF-8": "tests/sandbox/test_cli.py",
    "one Sandbox/CodeVerifier in two asyncio.run": "tests/sandbox/test_lifecycle.py",
    "engines=[one that accepts and never answers, a good one]": "tests/sandbox/test_lifecycle.py",
    "image removed while the pool is up": "tests/sandbox/test_lifecycle.py",
}
"""Rows that are not one program with its tests, and the file that tests what each is about."""
EXPECTED: dict[str, float | str] = {
    "fail": "failed",
    "failed: reference": "failed",
    "0.0 at once": 0.0,
    "1.0, box kept": 1.0,
}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "cases" / name).read_text().splitlines()]


def result(score: Score) -> float | str | None:
    return "failed" if score.failure is Failure.REFERENCE else score.value


def wanted(row: dict[str, Any]) -> float | str:
    expected: float | str = row["expected"]
    return BETTER.get(row["id"], EXPECTED.get(str(expected), expected))


def language(row: dict[str, Any]) -> str:
    return "cpp" if "#include" in row["program"] else "python"


def test_programs_that_were_judged_wrongly_have_the_right_score(
    judge: Any, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(
        "def judge(given, output, expected): return output.split() == [expected]"
    )
    wrong = {}
    for row in rows(shared_data, "code_faults.jsonl"):
        name, params = row["id"], row.get("params", {})
        if name in ELSEWHERE:
            assert (Path(__file__).parents[4] / ELSEWHERE[name]).is_file()
        elif wanted(row) == "ValueError":
            with pytest.raises(ValueError, match="whole number"):
                CodeVerifier(**params)
        else:
            if name == "special judge 9 MB input":
                params = {"judge": "judge.py", "base_dir": tmp_path}
            score = judge([row["program"]], LARGE.get(name, row["reference"]), fence=language(row), **params)[
                0
            ]
            if result(score) != wanted(row):
                wrong[name] = (wanted(row), score.to_dict())
    assert wrong == {}


def test_tests_in_the_field_are_read_and_decide(judge: Any, shared_data: Path) -> None:
    """The tests that only define are passed by a right program and by no stub; what is broken fails the score."""
    found = {}
    for row in rows(shared_data, "field_faults.jsonl"):
        if row["area"] != "code" or "reference" not in row:
            continue
        program = {
            "C3-shapes-not-read-03": "print(int(input()) + 1)",
            "C3-shapes-not-read-05": "print(int(input()) + 1)",
        }.get(row["id"], RIGHT + SOLUTION)
        if row["id"] == "C2-broken-tests-score-0-05":
            program = "def f(x): return 2.0"
        stub = row.get("program", "pass")
        right, wrong = judge([program, stub], row["reference"])
        found[row["id"]] = (result(right), result(wrong))
    broken = {"C2-broken-tests-score-0-03"}
    assert len(found) >= 11
    assert found == {name: ("failed", "failed") if name in broken else (1.0, 0.0) for name in found}


def test_programs_in_the_field_are_found_and_compared(judge: Any, shared_data: Path) -> None:
    tests = ["assert f(2) == 2", "assert f('a') == 'a'"]
    found: dict[str, Any] = {}
    for row in rows(shared_data, "field_faults.jsonl"):
        if row["area"] != "code" or "reference" in row:
            continue
        if "completion" in row:
            found[row["id"]] = judge.completions([row["completion"]], tests, **row.get("params", {}))[0].value
        else:
            found[row["id"]] = same_output(row["output"], row["expected_output"], 1e-6)
    assert len(found) >= 4
    assert found == {name: name.startswith("C6") or 1.0 for name in found}
