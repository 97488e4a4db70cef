"""Every shape that data sets write tests in is read; anything else is refused with a reason."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

import pytest

from guerdon_plugins.verifiers.code import CodeVerifier
from guerdon_plugins.verifiers.code.asserts import AssertTests, expectations
from guerdon_plugins.verifiers.code.cases import FunctionTests, StdioCase, StdioTests, SuiteError
from guerdon_plugins.verifiers.code.languages import LANGUAGES
from guerdon_plugins.verifiers.code.suites import read_suite
from guerdon_sandbox.image import EXTRAS

APPS_STDIO = {"inputs": ["1\n", ["2", "3"]], "outputs": ["1\n", ["2", "3"]]}
APPS_CALLS = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [[1], 2]}
OPEN_R1 = {
    "language": "python",
    "test_cases": [
        {"input": "1", "output": "2", "type": "stdin_stdout", "fn_name": None},
        {"input": "3", "output": "4", "type": "stdin_stdout", "fn_name": None},
    ],
}
OPEN_R1_CALLS = {
    "language": "python",
    "test_cases": [{"input": [1, 2], "output": [3], "type": "function_call", "fn_name": "add"}],
}
LIVECODEBENCH = [{"input": '[1, 2]\n"a"', "output": "true", "testtype": "functional", "fn_name": "f"}]
HUMANEVAL = {
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
    "entry_point": "f",
    "prompt": "",
}
MBPP = {"test_list": ["assert f(1) == 2", "assert f(2) == 3"], "test_imports": ["import math"]}


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("reference", "kind", "count"),
    [
        (APPS_STDIO, StdioTests, 2),
        (APPS_CALLS, FunctionTests, 2),
        (OPEN_R1, StdioTests, 2),
        (OPEN_R1_CALLS, FunctionTests, 1),
        (LIVECODEBENCH, FunctionTests, 1),
        (HUMANEVAL, AssertTests, 1),
        (MBPP, AssertTests, 2),
        (["assert f(1) == 2"], AssertTests, 1),
    ],
)
def test_every_shape_is_read_as_a_value_and_as_json(
    reference: Any, kind: type, count: int, as_text: bool
) -> None:
    tests = read_suite(json.dumps(reference) if as_text else reference).tests
    assert isinstance(tests, kind)
    assert len(tests.sources if isinstance(tests, AssertTests) else tests.cases) == count


def test_the_details_of_the_shapes() -> None:
    stdio = read_suite(APPS_STDIO).tests
    assert isinstance(stdio, StdioTests)
    assert stdio.cases[1] == StdioCase("2\n3", "2\n3")
    calls = read_suite(APPS_CALLS).tests
    assert isinstance(calls, FunctionTests)
    assert [case.args for case in calls.cases] == [[1], [2]]
    assert [case.accepted for case in calls.cases] == [[[1], 1], [2]]
    functional = read_suite(LIVECODEBENCH).tests
    assert isinstance(functional, FunctionTests)
    assert functional.cases[0].args == [[1, 2], "a"]
    assert functional.cases[0].accepted == [True]
    assert read_suite(OPEN_R1).language == "python"


@pytest.mark.parametrize(
    ("inputs", "readings"),
    [
        ([[1, 2], [3]], [[[1, 2], [3]]]),
        ([1, {"a": 2}], [[[1], [{"a": 2}]]]),
        (["[1, 2]", "[3, 4]"], [[[1, 2], [3, 4]], [[[1, 2]], [[3, 4]]]]),
        (["[1, 2]", "[3]"], [[[[1, 2]], [[3]]], [[1, 2], [3]]]),
        (["[1]\n2\n", '[]\n"a"'], [[[[1], 2], [[], "a"]], [["[1]\n2\n"], ['[]\n"a"']]]),
        (["5", "6"], [[[5], [6]], [["5"], ["6"]]]),
        (["abc", "5"], [[["abc"], ["5"]]]),
        (["[1,\n2]"], [[[1, 2]], [["[1,\n2]"]]]),
    ],
)
def test_arguments_in_text_are_read_as_json_in_the_ways_in_which_they_can_be(
    inputs: list[Any], readings: list[Any]
) -> None:
    typed = [{"input": given, "output": 0, "type": "function_call", "fn_name": "f"} for given in inputs]
    parallel = {"fn_name": "f", "inputs": inputs, "outputs": [0] * len(inputs)}
    for reference in (typed, parallel):
        tests = read_suite(reference).tests
        assert isinstance(tests, FunctionTests)
        read = [[case.args for case in cases] for cases in (tests.cases, *tests.otherwise) if cases]
        assert read == readings


@pytest.mark.parametrize(
    ("output", "accepted"),
    [
        (3, [3]),
        ([3], [[3], 3]),
        ([3, 4], [[3, 4]]),
        ("3", ["3", 3]),
        ("[3]", ["[3]", [3], 3]),
        ("abc", ["abc"]),
        (["3"], [["3"], "3"]),
    ],
)
def test_results_in_text_are_right_as_they_stand_and_as_json(output: Any, accepted: list[Any]) -> None:
    for reference in (
        {"fn_name": "f", "inputs": [[1]], "outputs": [output]},
        [{"input": [1], "output": output, "type": "function_call", "fn_name": "f"}],
    ):
        tests = read_suite(reference).tests
        assert isinstance(tests, FunctionTests)
        assert tests.cases[0].accepted == accepted


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (None, "None is not a test suite"),
        (5, "5 is not a test suite"),
        ([], r"\[\] is not a test suite"),
        ("", "call nothing"),
        ("42", "42 is not a test suite"),
        ("not python at all", "are not Python"),
        (["assert f(1) ==", "assert f(2) == 3"], "are not Python"),
        (["assert 1 == 1"], "call nothing"),
        ({}, "nothing in it"),
        ({"answer": 5}, "'answer'"),
        ({"inputs": ["1"], "outputs": []}, "one length"),
        ({"inputs": [], "outputs": []}, "not empty"),
        ({"inputs": [1], "outputs": ["1"]}, "must be text"),
        ({"inputs": [[1]], "outputs": [1], "fn_name": "not a name"}, "fn_name"),
        ({"test_cases": []}, "not empty"),
        ({"test_cases": [{"input": "1"}]}, "'output' must be text"),
        ({"test_cases": [{"input": [1], "type": "function_call", "fn_name": "f"}]}, "no 'output'"),
        ({"test_cases": [{"input": "1", "output": "1", "type": "magic"}]}, "magic"),
        ({"test": "def check(candidate): pass"}, "entry_point"),
        ({"test": "def check(candidate):\n    assert helper(candidate(1))", "entry_point": "f"}, "helper"),
        ({"test_list": "assert f(1) == 2"}, "list of asserts"),
        ({"test_list": [5]}, "list of asserts"),
        ({"test_list": ["assert f(1)"], "test_imports": [5]}, "test_imports"),
    ],
)
def test_anything_else_is_refused_with_a_reason(reference: Any, why: str) -> None:
    with pytest.raises(SuiteError, match=why):
        read_suite(reference)


@pytest.mark.parametrize(
    ("test", "result", "holds"),
    [
        ("assert f(1) == 2", 2, True),
        ("assert f(1) == 2", 3, False),
        ("assert 2 == f(1)", 2, True),
        ("assert f(1) == (1, [2])", (1, [2]), True),
        ("assert f(1) == (1, [2])", [1, [2]], False),
        ("assert f(1)", 1, True),
        ("assert f(1)", 0, False),
        ("assert not f(1)", 0, True),
        ("assert f(1) is True", 1, False),
        ("assert f(1) is None, 'why'", None, True),
        ("assert abs(f(1) - 0.5) < 1e-6", 0.5000000001, True),
        ("assert abs(f(1) - 0.5) < 1e-6", 0.51, False),
    ],
)
def test_simple_asserts_are_judged_here(test: str, result: object, holds: bool) -> None:
    tests = read_suite([test]).tests
    assert isinstance(tests, AssertTests)
    known = expectations(tests)
    assert known is not None
    (expectation,) = known
    assert expectation.call.function == "f"
    assert expectation.call.args == [1]
    assert expectation.holds(result) is holds


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1) == 2 and f(2) == 3",
        "for i in range(3):\n    assert f(i) == i",
        "assert f(g(1)) == 2",
        "assert sorted(f(1)) == [1]",
        "assert f(*[1]) == 2",
        "assert f(1) == [1] * 3",
        "x = f(1)\nassert x == 2",
    ],
)
def test_asserts_of_any_other_form_are_left_to_a_checker(test: str) -> None:
    tests = read_suite([test]).tests
    assert isinstance(tests, AssertTests)
    assert expectations(tests) is None


def test_names_are_the_candidates_only_if_nothing_else_defines_them() -> None:
    tests = read_suite(
        ["import os\nhelp_me = 3\nassert math.isclose(f(len([help_me])), g(1), rel_tol=1)"]
    ).tests
    assert isinstance(tests, AssertTests)
    assert tests.names == ("f", "g")
    assert "import math" in tests.setup


def test_a_references_own_solution_is_known() -> None:
    verifier = CodeVerifier()
    humaneval = {**HUMANEVAL, "prompt": "def f(x):\n    '+1'\n", "canonical_solution": "    return x + 1\n"}
    assert verifier.gold_completion(humaneval) == "```python\ndef f(x):\n    '+1'\n    return x + 1\n```"
    assert verifier.gold_completion({**MBPP, "code": "f = abs"}) == "```python\nf = abs\n```"
    assert verifier.gold_completion(APPS_STDIO) is None
    assert verifier.gold_completion("no suite") is None


CASES = json.dumps([{"input": "1", "output": "2", "testtype": "stdin"}])
FUNCTIONAL = json.dumps([{"input": "[1]\n2", "output": "3", "testtype": "functional"}])


def packed(value: object) -> str:
    """As LiveCodeBench packs its private cases."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


@pytest.mark.parametrize(
    ("reference", "count"),
    [
        ({"public_test_cases": CASES, "private_test_cases": packed(CASES), "metadata": "{}"}, 2),
        ({"public_test_cases": FUNCTIONAL, "metadata": '{"func_name": "f"}'}, 1),
        (
            {
                "public_tests": {"input": ["1"], "output": ["2"]},
                "generated_tests": {"input": ["3"], "output": ["4"]},
            },
            2,
        ),
        ({"official_tests": [{"input": "1", "output": "2"}], "generated_checker": "print(1)"}, 1),
        ({"input_output": json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [2]})}, 1),
        ({"tests": CASES}, 1),
        ({"ground_truth": json.dumps({"inputs": ["1"], "outputs": ["2"]})}, 1),
        ([{"input": "[1]", "output": "2", "testtype": "functional", "metadata": {"func_name": "f"}}], 1),
    ],
)
def test_rows_of_competition_sites_are_read(reference: Any, count: int) -> None:
    tests = read_suite(reference).tests
    assert isinstance(tests, StdioTests | FunctionTests)
    assert len(tests.cases) == count


class Hostile:
    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def test_packed_cases_are_never_unpickled(capsys: pytest.CaptureFixture[str]) -> None:
    for value in (Hostile(), [CASES, CASES], 5):
        with pytest.raises(SuiteError, match="cannot be unpacked"):
            read_suite({"private_test_cases": packed(value)})
    assert capsys.readouterr().out == ""


def test_languages_that_an_image_can_add_are_those_of_the_table() -> None:
    assert {one.name for one in LANGUAGES.values() if one.extra} == EXTRAS.keys()


def test_advice_on_a_language_names_the_command_that_adds_it() -> None:
    assert "sandbox build --toolchain --with go, or" in LANGUAGES["go"].advice
    assert "sandbox build --toolchain, or" in LANGUAGES["cpp"].advice
