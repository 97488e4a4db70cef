"""Programs and tests that were once judged wrongly, as others reported them: each has its right score now."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Score
from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_plugins.verifiers.code.compare import same_output
from guerdon_sandbox import Program, Sandbox, SyncSandbox
from guerdon_sandbox.selfcheck import HONEST, HONEST_OUTPUT

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
VERIFIER = "tests/plugins/verifiers/code/test_verifier.py"
NEIGHBOURS = "tests/plugins/verifiers/code/test_neighbours.py"
LIFECYCLE = "tests/sandbox/test_lifecycle.py"
CLI = "tests/sandbox/test_cli.py"
ELSEWHERE = {
    # g++ takes five seconds for the header of all headers, which both include.
    "open-r1 cpp20 feature": (VERIFIER, "test_the_data_names_the_language_and_so_the_image"),
    "open-r1 cpp, language in the data only": (VERIFIER, "test_the_data_names_the_language_and_so_the_image"),
    "28 loops beside 30 honest programs, 2 boxes, defaults": (
        NEIGHBOURS,
        "test_loops_before_honest_programs_starve_none_of_them",
    ),
    "guerdon sandbox build --method dockerfile": (CLI, "test_build_takes_the_methods_that_its_advice_names"),
    "guerdon sandbox run FILE that is not UTF-8": (
        CLI,
        "test_run_of_a_file_that_cannot_be_decoded_is_one_line",
    ),
    "engines=[one that accepts and never answers, a good one]": (
        LIFECYCLE,
        "test_silent_engine_beside_a_good_one_holds_nothing_up",
    ),
    "image removed while the pool is up": (
        LIFECYCLE,
        "test_image_that_is_removed_while_the_pool_is_up_is_an_image_error",
    ),
}
"""Rows of commands, compilers, engines and many programs at once, and the test of each: its file and function."""
TWO_LOOPS = "one Sandbox/CodeVerifier in two asyncio.run"
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


def test_programs_that_were_judged_wrongly_have_the_right_score(
    judge: Any, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(
        "def judge(given, output, expected): return output.split() == [expected]"
    )
    wrong = {}
    for row in rows(shared_data, "code_faults.jsonl"):
        name, params = row["id"], row.get("params", {})
        if name in ELSEWHERE or name == TWO_LOOPS or row["reference"] == "Program job":
            continue
        if wanted(row) == "ValueError":
            with pytest.raises(ValueError, match="whole number"):
                CodeVerifier(**params)
        else:
            if name == "special judge 9 MB input":
                params = {"judge": "judge.py", "base_dir": tmp_path}
            score = judge([row["program"]], LARGE.get(name, row["reference"]), **params)[0]
            if result(score) != wanted(row):
                wrong[name] = (wanted(row), score.to_dict())
    assert wrong == {}


def test_rows_of_other_files_have_their_test_there(shared_data: Path) -> None:
    names = {row["id"] for row in rows(shared_data, "code_faults.jsonl")}
    assert names >= {*ELSEWHERE, TWO_LOOPS}
    for file, function in ELSEWHERE.values():
        tree = ast.parse((Path(__file__).parents[4] / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, file


READ_MARKS = """
import os
print([os.stat(f"/dev/{name}").st_mtime_ns for name in ("null", "zero", "full", "random", "urandom", "tty")])
"""


def test_programs_that_left_something_leave_the_box_as_it_was(shared_data: Path) -> None:
    pool = Sandbox(boxes=1)
    found = 0
    with SyncSandbox(pool) as box:
        box.run(Program(source=""))
        unmarked = box.run(Program(source=READ_MARKS)).stdout
        for row in rows(shared_data, "code_faults.jsonl"):
            if row.get("reference") == "Program job":
                found += 1
                box.run(Program(source=row["program"]))
                assert box.run(Program(source=HONEST)).stdout == HONEST_OUTPUT, row["id"]
                assert box.run(Program(source=READ_MARKS)).stdout == unmarked, row["id"]
    assert found == 2
    assert pool.boxes_started == 1


def test_one_verifier_works_in_two_loops_one_after_the_other() -> None:
    verifier = CodeVerifier(boxes=1)
    try:
        for program, value in (("print(2)", 1.0), ("print(3)", 0.0)):
            score = asyncio.run(verifier(f"```python\n{program}\n```", {"inputs": [""], "outputs": ["2"]}))
            assert score.value == value
    finally:
        asyncio.run(verifier.aclose())


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
