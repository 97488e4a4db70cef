"""The verifier as a run uses it: every shape of tests, partial credit, evidence, and what is nobody's fault."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure, Outcome, Score
from guerdon.text import CodeBlock
from guerdon_plugins.verifiers.code import CodeVerifier, verifier
from guerdon_plugins.verifiers.code.languages import LANGUAGES
from guerdon_plugins.verifiers.code.suites import read_suite
from guerdon_sandbox import PYTHON_IMAGE, TOOLCHAIN_IMAGE
from guerdon_sandbox.engine import Engine

SUM = "def add(a, b):\n    return a + b\n"
ADD = {
    "language": "python",
    "test_cases": [
        {"input": [1, 2], "output": 3, "type": "function_call", "fn_name": "add"},
        {"input": [0, 0], "output": 0, "type": "function_call", "fn_name": "add"},
        {"input": [5, 5], "output": 10, "type": "function_call", "fn_name": "add"},
        {"input": [2, 2], "output": 4, "type": "function_call", "fn_name": "add"},
    ],
}
ECHO = {"inputs": ["1\n", "2\n", "3\n", "4\n"], "outputs": ["1\n", "2\n", "3\n", "4\n"]}

docker = pytest.mark.docker


def judge_text(completion: str, reference: Any, **params: Any) -> Score:
    verifier = CodeVerifier(**params)

    async def judge() -> Score:
        try:
            return await verifier(completion, reference=reference)
        finally:
            await verifier.aclose()

    return asyncio.run(judge())


@docker
def test_partial_credit_counts_tests(score: Callable[..., Score]) -> None:
    half = "def add(a, b):\n    return a * b\n"
    assert score(half, ADD).value == 0.0
    assert score(half, ADD, scoring="fraction").value == 0.5
    assert score("x = input()\nprint(x if x != '2' else 5)", ECHO, scoring="fraction").value == 0.75


@docker
def test_a_call_that_ends_the_process_fails_alone(score: Callable[..., Score]) -> None:
    for ending in ("__import__('os')._exit(0)", "exec('while True: pass')", "raise SystemExit"):
        program = f"def add(a, b):\n    if a == 0:\n        {ending}\n    return a + b\n"
        assert score(program, ADD, scoring="fraction").value == 0.75


@docker
def test_the_evidence_names_the_first_failures(score: Callable[..., Score]) -> None:
    wrong = score("def add(a, b):\n    return a - b\n", ADD)
    assert wrong.explanation == "1 of 4 tests passed; test 1: gave -1, not 3"
    assert wrong.metadata["passed"] == 1
    assert wrong.answer == "def add(a, b):\n    return a - b\n"
    crash = score("print(1 / 0)", ECHO)
    assert "exit 1 ZeroDivisionError: division by zero" in crash.explanation
    loop = score("while True: pass", ECHO)
    assert "cpu limit" in loop.explanation


@docker
def test_a_solution_class_and_mbpp_asserts(score: Callable[..., Score]) -> None:
    solution = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
    assert score(solution, ADD).value == 1.0
    assert score(SUM, ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"]).value == 1.0
    assert score(SUM, {"test_list": ["assert math.isclose(add(0.1, 0.2), 0.3)"]}).value == 1.0


ADD_AS_TEXT = {
    "test_cases": [{"input": "[1, 2]", "output": "3", "type": "function_call", "fn_name": "add"}],
}


@docker
@pytest.mark.parametrize(
    ("program", "reference", "value"),
    [
        (SUM, ADD_AS_TEXT, 1.0),
        (SUM.replace("a + b", "a - b"), ADD_AS_TEXT, 0.0),
        (SUM.replace("a + b", "str(a + b)"), ADD_AS_TEXT, 1.0),
        (SUM, {"fn_name": "add", "inputs": ["[1, 2]"], "outputs": ["[3]"]}, 1.0),
        (SUM, {"fn_name": "add", "inputs": ["1\n2"], "outputs": ["3"]}, 1.0),
        ("f = sum", {"fn_name": "f", "inputs": ["[1, 2]"], "outputs": ["3"]}, 1.0),
        ("f = sum", {"fn_name": "f", "inputs": ["[1, 2]", "[5]"], "outputs": ["3", "5"]}, 1.0),
        ("f = max", {"fn_name": "f", "inputs": ["[1, 2]", "[5]"], "outputs": ["3", "5"]}, 0.5),
        ("f = len", {"fn_name": "f", "inputs": ["5", "55"], "outputs": [1, 2]}, 1.0),
    ],
)
def test_arguments_and_results_in_columns_of_text(
    score: Callable[..., Score], program: str, reference: Any, value: float
) -> None:
    assert score(program, reference, scoring="fraction").value == value


@docker
def test_functions_find_what_competition_sites_import_for_them(score: Callable[..., Score]) -> None:
    program = """class Solution:
    def search(self, nums: List[int], target: int) -> Optional[int]:
        counts = Counter(nums), defaultdict(list), math.inf, heapq.nsmallest(1, nums)
        @cache
        def deep(n):
            return n and 1 + deep(n - 1)
        deep(3000)
        return bisect_left(nums, target)
"""
    case = {"input": "[2, 7]\n7", "output": "1", "testtype": "functional", "fn_name": "search"}
    assert score(program, [case]).value == 1.0
    assert score("", {"fn_name": "gcd", "inputs": [[4, 6]], "outputs": [2]}).value == 0.0
    line = score("\n\ndef search(:", [case]).explanation
    assert "candidate.py, line 3" in line
    # A whole program is run as it stands.
    assert "NameError" in score("print(sqrt(4))", ECHO).explanation


@docker
def test_a_judge_decides_where_several_outputs_are_right(score: Callable[..., Score], tmp_path: Path) -> None:
    file = tmp_path / "judge.py"
    file.write_text(
        "def judge(input, output, expected):\n    return sorted(output.split()) == sorted(expected.split())\n"
    )
    reference = {"inputs": [""], "outputs": ["1 2 3"]}
    assert score("print(3, 1, 2)", reference, judge="judge.py", base_dir=tmp_path).value == 1.0
    assert score("print(3, 1)", reference, judge="judge.py", base_dir=tmp_path).value == 0.0
    assert score("print(3, 1, 2)", {**reference, "judge": file.read_text()}).value == 1.0
    broken = score("print(1)", {**reference, "judge": "def judge(*_): return 'yes'"})
    assert broken.failure is Failure.REFERENCE


@docker
def test_a_test_that_cannot_cross_fails_the_score_and_not_the_program(score: Callable[..., Score]) -> None:
    failed = score("def apply(f): return f(1)", ["assert apply(lambda x: x + 1) == 2"])
    assert failed.failure is Failure.REFERENCE


@docker
def test_the_program_is_the_last_block_after_the_reasoning(judge: Any) -> None:
    def value(completion: str, **params: Any) -> float | None:
        score: Score = judge.completions([completion], ["assert f() == 1"], **params)[0]
        return score.value

    right, wrong = "```python\ndef f(): return 1\n```", "```py\ndef f(): return 2\n```"
    assert value(f"{wrong}\nrather\n{right}") == 1.0
    assert value(f"{right}\nrather\n{wrong}") == 0.0
    assert value(f"<think>{wrong}</think>{right}") == 1.0
    assert value(f"<think>{right}</think>I do not know") == 0.0
    assert value(f"<think>{right}") == 0.0
    assert value("def f(): return 1") == 0.0
    assert value("def f(): return 1", bare=True) == 1.0
    assert value("```\ndef f(): return 1\n```", bare=True) == 1.0
    assert value("```\ndef f(): return 1\n```") == 0.0
    usage = "```python\nprint(f())\n```"
    assert value(f"{right}\nExample:\n{usage}") == 1.0
    assert value(f"{right}\n{wrong}\nExample:\n{usage}") == 0.0
    assert value(f"{right}\n```python\nprint(f()") == 0.0
    assert value("```python\ndef f(): return 1\n") == 0.0


def test_tests_that_cannot_be_read_are_not_the_programs_fault() -> None:
    references: list[Any] = [None, "", {}, {"test_cases": []}, {**ADD, "language": "cobol"}]
    for reference in references:
        score = judge_text("```python\nx\n```", reference)
        assert (score.outcome, score.failure) == (Outcome.FAILED, Failure.REFERENCE)
        assert score.explanation


def test_no_engine_is_an_infrastructure_failure_and_never_a_zero() -> None:
    score = judge_text("```python\nprint(1)\n```", ECHO, engines=["unix:///nowhere.sock"])
    assert (score.value, score.failure) == (None, Failure.INFRASTRUCTURE)
    assert "guerdon sandbox doctor" in score.explanation


@docker
def test_a_machine_that_is_too_busy_makes_no_right_program_wrong() -> None:
    async def judge() -> list[Score]:
        verifier = CodeVerifier(boxes=8, wall_s=0.8)
        program = "```python\nimport time\nwhile time.process_time() < 0.4: pass\nprint(input()) # {}\n```"
        try:
            return await asyncio.gather(
                *(
                    verifier(program.format(number), {"inputs": ["1"], "outputs": ["1"]})
                    for number in range(8)
                )
            )
        finally:
            await verifier.aclose()

    assert [score.value for score in asyncio.run(judge())] == [1.0] * 8


@docker
def test_a_program_that_waited_too_long_for_a_cpu_is_an_infrastructure_failure() -> None:
    async def judge() -> Score:
        verifier = CodeVerifier(boxes=1, wall_s=0.2)
        verifier._sandboxes[False]._patience_s = 0.0  # so that any wait is too long
        try:
            return await verifier("```python\nimport time; time.sleep(9)\n```", ECHO)
        finally:
            await verifier.aclose()

    score = asyncio.run(judge())
    assert (score.value, score.failure) == (None, Failure.INFRASTRUCTURE)
    assert "lower boxes" in score.explanation


@docker
def test_a_program_that_sleeps_is_wrong(score: Callable[..., Score]) -> None:
    sleeper = score("import time; time.sleep(9)", ECHO, wall_s=0.5)
    assert (sleeper.value, sleeper.failure) == (0.0, None)
    assert "wall limit" in sleeper.explanation


def test_no_program_is_wrong_without_any_engine() -> None:
    score = judge_text("I would rather not.", ECHO, engines=["unix:///nowhere.sock"])
    assert score.value == 0.0


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"language": "cobol"}, "cobol"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"tolerance": float("inf")}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"judge": "no-such-file.py"}, "no-such-file"),
        ({"boxes": 0}, "boxes"),
        ({"cpu_s": 0}, "cpu_s"),
        ({"cpu_s": 0.5}, "cpu_s"),
    ],
)
def test_options_are_checked_before_anything_runs(params: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CodeVerifier(**params)


def test_a_judge_s_file_without_a_judge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.py").write_text("def check(output): return True")
    with pytest.raises(ValueError, match=r"judge .j\.py. defines no function judge"):
        CodeVerifier(judge="j.py", base_dir=tmp_path)


CPP = """#include <cstdio>
int main() { int x; std::scanf("%d", &x); std::printf("%d", x == 3 ? WRONG : x); }
"""


@docker
@pytest.mark.parametrize(
    ("language", "program"),
    [
        ("cpp", CPP),
        ("javascript", "const x = Number(require('fs').readFileSync(0)); console.log(x == 3 ? WRONG : x)"),
    ],
)
def test_other_languages_where_the_image_has_them(judge: Any, language: str, program: str) -> None:
    if not Engine().has_image(TOOLCHAIN_IMAGE):
        missing = f"no image {TOOLCHAIN_IMAGE}; build it with: guerdon sandbox build --toolchain"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)

    def value(source: str, **params: Any) -> float | None:
        score: Score = judge([source], ECHO, fence=language, language=language, **params)[0]
        assert score.outcome is Outcome.SCORED, score.explanation
        return score.value

    assert value(program.replace("WRONG", "3")) == 1.0
    assert value(program.replace("WRONG", "4"), scoring="fraction") == 0.75
    assert value("this is no program") == 0.0


PRINTS_FOUR = {
    "python": "print(2 + 2)",
    "cpp": (
        "#include <bits/stdc++.h>\nint main() { std::vector v{4}; std::ranges::sort(v); std::cout << v[0]; }"
    ),
    "c": '#include <stdio.h>\nint main(void) { printf("4"); }',
    "bash": "echo $((2 + 2))",
    "rust": 'fn main() { println!("4") }',
    "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println(4) }',
    "java": "public class Main { public static void main(String[] a) { System.out.println(4); } }",
    "javascript": "console.log(2 + 2)",
    "typescript": "const x: number = 4; console.log(x)",
}
INCOMPLETE = 'print("4"); ((('


@docker
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_data_names_the_language_and_so_the_image(judge: Any, language: str) -> None:
    """A program that does not compile is wrong. Only an image that lacks the language is a failed score."""
    if not Engine().has_image(TOOLCHAIN_IMAGE):
        pytest.skip(f"no image {TOOLCHAIN_IMAGE}")
    reference = {"inputs": [""], "outputs": ["4"], "language": language}
    right, broken = judge([PRINTS_FOUR[language], INCOMPLETE], reference, fence=language, cpu_s=10)
    if right.failure is Failure.INFRASTRUCTURE:
        assert f"which {language} needs" in right.explanation
        assert broken.failure is Failure.INFRASTRUCTURE
    else:
        assert right.value == 1.0, right.explanation
        assert broken.value == 0.0, broken.explanation


@docker
def test_an_image_without_the_language_is_an_infrastructure_failure() -> None:
    score = judge_text("```cpp\nint main() {}\n```", {**ECHO, "language": "c++"}, boxes=1, image=PYTHON_IMAGE)
    assert score.failure is Failure.INFRASTRUCTURE
    assert "--toolchain" in score.explanation


def test_functions_of_other_languages_cannot_be_tested() -> None:
    score = judge_text("```js\nadd = (a, b) => a + b\n```", {**ADD, "language": "js"}, boxes=1)
    assert score.failure is Failure.REFERENCE


@docker
def test_a_judge_that_stumbles_over_an_output_refuses_it(score: Callable[..., Score]) -> None:
    strict = "def judge(input, output, expected):\n    return int(output) == int(expected)"
    reference = {"inputs": [""], "outputs": ["5"], "judge": strict}
    assert score("print(5)", reference).value == 1.0
    assert score("print('five')", reference).value == 0.0
    assert score("print(5)", {**reference, "outputs": ["five"]}).failure is Failure.REFERENCE


@docker
@pytest.mark.parametrize(
    ("program", "reference"),
    [
        ("def f(x): raise Exception('\\ud800 \\x1b[2J\\n\\x00')", ["assert f(4) == 8"]),
        (
            "def f(x): raise Exception('\\ud800 \\x1b[2J\\n\\x00')",
            {"fn_name": "f", "inputs": [[4]], "outputs": [8]},
        ),
        ("raise Exception('\\ud800 \\x1b[2J\\n\\x00')", ["assert f(4) == 8"]),
        ("import sys\nsys.stderr.write('\\x1b[2J\\x00\\r')\nsys.exit(3)", {"inputs": [""], "outputs": ["8"]}),
        ("print('\\x1b[2J\\x00')", {"inputs": [""], "outputs": ["8"]}),
    ],
)
def test_what_a_program_says_is_printable_in_the_explanation(
    score: Callable[..., Score], program: str, reference: Any
) -> None:
    """A lone surrogate would break the file of rollouts, and an escape sequence the terminal that shows them."""
    wrong = score(program, reference)
    assert wrong.value == 0.0
    assert "\\x1b[2J" in wrong.explanation
    assert all(text.isprintable() for text in (wrong.explanation, *wrong.metadata["failures"]))


LARGE_SOURCES = {
    "calls": "x = f" + "()" * 50_000,
    "signs": "x = 1" + "+1" * 50_000,
    "comparisons": "x = " + "1 < " * 25_000 + "1",
    "decorators": "@f\n" * 30_000 + "def g(): pass",
    "items": "x = x" + "[0]" * 30_000,
    "words": "f " * 50_000,
    "lines": "f\n" * 50_000,
    "imports": "import " * 15_000,
}


@pytest.mark.parametrize("name", LARGE_SOURCES)
def test_large_blocks_are_chosen_without_the_parser_which_blocks_the_event_loop(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, uses = ("def f(x):\n    return 2 * x\n", LARGE_SOURCES[name])
    monkeypatch.setattr(verifier, "parse", lambda source: pytest.fail("parsed"))
    blocks = [CodeBlock("python", code, closed=True) for code in (right, uses)]
    suite = read_suite(["assert f(4) == 8"])
    assert verifier._chosen(blocks, suite) == right
    assert verifier._chosen(blocks[::-1], suite) == right


@pytest.mark.parametrize(
    "line",
    ["def f(x):", "  async def f(x):", "class f:", "f = g", "f=g", "from m import g, f", "import f"],
)
def test_lines_that_bind_a_name_are_seen_in_large_blocks(line: str) -> None:
    assert verifier._seems_to_define(f"x = 1\n{line}\n", ["f"])
    assert not verifier._seems_to_define(f"x = 1\nprint(f(2))\nf == 2\n{line.replace('f', 'h')}\n", ["f"])


def test_program_of_a_bare_answer_with_marks_of_channels_inside_is_read_without_them() -> None:
    verifier = CodeVerifier(bare=True)
    completion = "<|channel|>final<|message|>  x = 1\n<|end|>  y = 2<|return|>"
    program = verifier._program(completion, LANGUAGES["python"], read_suite(["assert f()"]))
    assert program == "x = 1\n  y = 2"
