"""Test suites, and how the shapes that data sets write them in are read.

Reading is strict: a suite that cannot be read as it was meant is an error, since a wrong guess would train on noise.
"""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from guerdon_plugins.verifiers.code.asserts import AssertTests, humaneval_tests, list_tests, missing_names


class SuiteError(ValueError):
    """A reference that is no test suite."""


@dataclass(frozen=True, slots=True)
class StdioCase:
    """A program's input, and the output that it must give."""

    stdin: str
    expected: str


@dataclass(frozen=True, slots=True)
class StdioTests:
    """Whole programs: one run per case."""

    cases: Sequence[StdioCase]
    judge: str | None = None
    """Python source of a special judge, where several outputs are right."""


@dataclass(frozen=True, slots=True)
class FunctionCase:
    """A call with plain arguments, and the results that are right."""

    function: str
    args: Sequence[Any]
    accepted: Sequence[Any]


@dataclass(frozen=True, slots=True)
class FunctionTests:
    """Calls whose expected results are JSON values."""

    cases: Sequence[FunctionCase]
    otherwise: Sequence[FunctionCase] = ()
    """The same cases, where their arguments can be read in another way, too."""


Tests: TypeAlias = StdioTests | FunctionTests | AssertTests


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one problem."""

    tests: Tests
    language: str | None = None
    """The language that the reference itself asks for."""
    solution: str | None = None
    """A program that passes, where the reference holds one."""


def read_suite(reference: object) -> Suite:
    """Read a reference.

    Args:
        reference: One of the shapes that the verifier's documentation lists, or such a shape as JSON text.

    Raises:
        SuiteError: It has none of the shapes, lacks something, or has no test at all.
    """
    try:
        key = reference if isinstance(reference, str) else json.dumps(reference)
    except (TypeError, ValueError):
        return _read(reference)
    return _read_text(key)


@lru_cache(maxsize=256)
def _read_text(text: str) -> Suite:
    """Completions of one prompt share their reference, so reading it once is enough."""
    try:
        reference = json.loads(text)
    except ValueError:
        reference = text
    return _read(reference)


def _read(reference: object) -> Suite:
    if isinstance(reference, str):
        return Suite(_python(list_tests([reference])))
    if isinstance(reference, Mapping):
        return _read_mapping(reference)
    if isinstance(reference, Sequence) and reference:
        if all(isinstance(item, str) for item in reference):
            return Suite(_python(list_tests(list(reference))))
        if all(isinstance(item, Mapping) for item in reference):
            return Suite(_typed_cases(reference, {}))
    raise SuiteError(
        f"a {type(reference).__name__} is no test suite: give asserts, or a mapping with the tests"
    )


def _read_mapping(reference: Mapping[str, Any]) -> Suite:
    language = _optional_text(reference, "language")
    if "test_cases" in reference:
        cases = reference["test_cases"]
        if (
            not isinstance(cases, Sequence)
            or not cases
            or not all(isinstance(case, Mapping) for case in cases)
        ):
            raise SuiteError("'test_cases' must be a list of mappings with input and output, and not empty")
        return Suite(_typed_cases(cases, reference), language)
    if "inputs" in reference or "outputs" in reference:
        return Suite(_parallel_lists(reference), language)
    if "test" in reference:
        entry_point = reference.get("entry_point")
        if not isinstance(entry_point, str) or not entry_point.isidentifier():
            raise SuiteError(f"'entry_point' must name the function under test, got {entry_point!r}")
        prelude = _optional_text(reference, "prompt") or ""
        body = _optional_text(reference, "canonical_solution")
        solution = None if body is None else prelude + body
        tests = _python(humaneval_tests(_text(reference, "test"), entry_point, prelude))
        return Suite(tests, language, solution)
    if "test_list" in reference:
        listed = reference["test_list"]
        if not _is_texts(listed) or not listed:
            raise SuiteError("'test_list' must be a list of asserts as text, and not empty")
        imports = reference.get("test_imports") or []
        if not _is_texts(imports):
            raise SuiteError("'test_imports' must be a list of import statements")
        setup = "\n".join([*imports, _optional_text(reference, "test_setup_code") or ""]).strip()
        return Suite(_python(list_tests(list(listed), setup)), language, _optional_text(reference, "code"))
    raise SuiteError(
        f"a mapping with {', '.join(map(repr, reference)) or 'nothing in it'} is no test suite. It needs "
        "'test_cases', 'inputs' and 'outputs', 'test' and 'entry_point', or 'test_list'"
    )


def _python(tests: AssertTests) -> AssertTests:
    for source in (tests.prelude, tests.setup, *tests.sources):
        try:
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise SuiteError(f"the tests, or the prompt before them, are not Python: {error}") from None
    missing = missing_names(tests)
    if missing:
        raise SuiteError(
            f"the tests use {', '.join(missing)}, which nothing defines; give the problem's 'prompt'"
        )
    if not tests.names:
        raise SuiteError("the tests call nothing of the candidate")
    return tests


def _typed_cases(
    cases: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> StdioTests | FunctionTests:
    """open-r1's verification_info, and LiveCodeBench's cases: each case says its type."""
    kinds = {str(case.get("type", case.get("testtype", "stdin_stdout"))) for case in cases}
    if kinds <= {"stdin_stdout", "stdin"}:
        stdio = [StdioCase(_text(case, "input"), _text(case, "output")) for case in cases]
        return StdioTests(stdio, _optional_text(reference, "judge"))
    if kinds == {"function_call"}:
        return _function_tests(
            [_name(case, reference) for case in cases],
            [_present(case, "input") for case in cases],
            [_present(case, "output") for case in cases],
        )
    if kinds == {"functional"}:
        # One argument per line, each as JSON.
        return FunctionTests(
            [
                FunctionCase(
                    _name(case, reference),
                    [_json(line) for line in _text(case, "input").split("\n") if line.strip()],
                    [_json(case["output"])],
                )
                for case in cases
            ]
        )
    raise SuiteError(
        f"the cases' types are {', '.join(sorted(kinds))}; all must be 'stdin_stdout' or 'function_call'"
    )


def _parallel_lists(reference: Mapping[str, Any]) -> StdioTests | FunctionTests:
    """APPS and TACO: inputs and outputs by position, and fn_name where they are arguments and results."""
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
            StdioCase(_lines(given), _lines(wanted)) for given, wanted in zip(inputs, outputs, strict=True)
        ]
        return StdioTests(cases, _optional_text(reference, "judge"))
    return _function_tests([_name(reference, reference)] * len(inputs), inputs, outputs)


def _function_tests(names: Sequence[str], inputs: Sequence[Any], outputs: Sequence[Any]) -> FunctionTests:
    accepted = [_accepted(output) for output in outputs]
    first, *second = [
        [FunctionCase(*case) for case in zip(names, arguments, accepted, strict=True)]
        for arguments in _readings(inputs)
    ]
    return FunctionTests(first, *second)


def _readings(inputs: Sequence[Any]) -> list[list[list[Any]]]:
    """The arguments of every call, in the one or two ways in which they can be read, the likelier one first.

    Columns of text hold JSON: a list of the arguments, or LiveCodeBench's one argument per line. A line ``[1, 2]`` may
    be either, and ``5`` may be the text itself.
    """
    if not all(isinstance(given, str) for given in inputs):
        return [[given if isinstance(given, list) else [given] for given in inputs]]
    readings = [[[text] for text in inputs]]
    with contextlib.suppress(ValueError):
        readings.insert(
            0, [[json.loads(line) for line in text.split("\n") if line.strip()] for text in inputs]
        )
    with contextlib.suppress(ValueError):
        lists = [json.loads(text) for text in inputs]
        if all(isinstance(args, list) for args in lists):
            # Lists of many lengths are rather one argument each: a function takes as many as it takes.
            readings.insert(len({len(args) for args in lists}) > 1, lists)
    return readings[:2]


def _accepted(expected: Any) -> list[Any]:
    """The results that are right: as it stands, read as JSON, and without the list of one that some data sets add."""
    accepted = [expected]
    if isinstance(expected, str):
        with contextlib.suppress(ValueError):
            accepted.append(json.loads(expected))
    if isinstance(accepted[-1], list) and len(accepted[-1]) == 1:
        accepted += accepted[-1]
    return accepted


def _name(case: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    name = case.get("fn_name") or reference.get("fn_name") or reference.get("func_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise SuiteError(f"'fn_name' must name the function to call, got {name!r}")
    return name


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _lines(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise SuiteError(f"an input or output is a {type(value).__name__}; it must be text, or a list of lines")


def _present(case: Mapping[str, Any], key: str) -> Any:
    if key not in case:
        raise SuiteError(f"a case has no '{key}', only {', '.join(map(repr, case))}")
    return case[key]


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str):
        raise SuiteError(f"'{key}' must be text, got {value!r:.80}")
    return value


def _optional_text(mapping: Mapping[str, Any], key: str) -> str | None:
    return None if mapping.get(key) is None else _text(mapping, key)


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
