"""Read rows with inputs and outputs, in the shapes of LiveCodeBench, CodeContests, Codeforces, APPS and open-r1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_plugins.verifiers.code.arguments import function_tests
from guerdon_plugins.verifiers.code.cases import (
    FunctionCase,
    FunctionTests,
    StdioCase,
    StdioTests,
    SuiteError,
)
from guerdon_plugins.verifiers.code.columns import (
    function_name,
    json_value,
    lines,
    mappings,
    optional_text,
    present,
    text,
    text_or_lines,
)
from guerdon_plugins.verifiers.code.encoded import unpack_cases


def livecodebench(row: Mapping[str, Any]) -> StdioTests | FunctionTests:
    """Read LiveCodeBench's public and private test cases, which may be packed."""
    cases: list[Mapping[str, Any]] = []
    for key in ("public_test_cases", "private_test_cases"):
        value = row.get(key) or []
        if isinstance(value, str):
            try:
                value = unpack_cases(value)
            except ValueError as error:
                raise SuiteError(f"'{key}' cannot be unpacked: {error}") from None
        cases += mappings({key: value}, key) if value else []
    if not cases:
        raise SuiteError("'public_test_cases' and 'private_test_cases' are empty")
    return typed_cases(cases, row)


def codecontests(row: Mapping[str, Any]) -> StdioTests:
    """Read CodeContests' public, private and generated tests."""
    cases = []
    for key in ("public_tests", "private_tests", "generated_tests"):
        part = row.get(key) or {}
        if not isinstance(part, Mapping):
            raise SuiteError(f"'{key}' must be a mapping with 'input' and 'output', got {part!r:.80}")
        inputs, outputs = part.get("input") or [], part.get("output") or []
        if len(inputs) != len(outputs):
            raise SuiteError(f"'{key}' has {len(inputs)} inputs and {len(outputs)} outputs")
        cases += [
            StdioCase(lines(given), lines(wanted)) for given, wanted in zip(inputs, outputs, strict=True)
        ]
    if not cases:
        raise SuiteError("'public_tests', 'private_tests' and 'generated_tests' are empty")
    return stdio_tests(cases, row)


def codeforces(row: Mapping[str, Any]) -> StdioTests:
    """Read the official tests of Codeforces' problems."""
    if row.get("input_mode") == "file":
        raise SuiteError("the problem reads its input from a file, not from stdin")
    cases = mappings(row, "official_tests")
    return stdio_tests(
        [StdioCase(lines(case.get("input")), lines(case.get("output"))) for case in cases], row
    )


def typed_cases(
    cases: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> StdioTests | FunctionTests:
    """Read open-r1's verification_info, and LiveCodeBench's cases: each case names its type."""
    kinds = {str(case.get("type", case.get("testtype", "stdin_stdout"))) for case in cases}
    if kinds <= {"stdin_stdout", "stdin"}:
        stdio = [StdioCase(text_or_lines(case, "input"), text_or_lines(case, "output")) for case in cases]
        return stdio_tests(stdio, reference)
    if kinds == {"function_call"}:
        return function_tests(
            [function_name(case, reference) for case in cases],
            [present(case, "input") for case in cases],
            [present(case, "output") for case in cases],
        )
    if kinds == {"functional"}:
        # One argument per line, each as JSON.
        return FunctionTests(
            [
                FunctionCase(
                    function_name(case, reference),
                    [json_value(line) for line in text(case, "input").split("\n") if line.strip()],
                    [json_value(case["output"])],
                )
                for case in cases
            ]
        )
    raise SuiteError(
        f"the cases' types are {', '.join(sorted(kinds))}; all must be 'stdin_stdout' or 'function_call'"
    )


def parallel_lists(reference: Mapping[str, Any]) -> StdioTests | FunctionTests:
    """Read APPS and TACO: inputs and outputs by position, with fn_name if they are arguments and results."""
    inputs, outputs = reference.get("inputs"), reference.get("outputs")
    if (
        not isinstance(inputs, list)
        or not isinstance(outputs, list)
        or len(inputs) != len(outputs)
        or not inputs
    ):
        raise SuiteError("'inputs' and 'outputs' must be lists of one length, and not empty")
    if not reference.get("fn_name"):
        cases = [
            StdioCase(lines(given), lines(wanted)) for given, wanted in zip(inputs, outputs, strict=True)
        ]
        return stdio_tests(cases, reference)
    return function_tests([function_name(reference, reference)] * len(inputs), inputs, outputs)


def stdio_tests(cases: Sequence[StdioCase], row: Mapping[str, Any]) -> StdioTests:
    """Return the tests of whole programs, with the row's special judge or checker."""
    checker = optional_text(row, "checker") or optional_text(row, "generated_checker")
    return StdioTests(cases, optional_text(row, "judge"), checker)
