"""Read test suites in the shapes that data sets use.

Reading is strict: a suite that cannot be read with certainty is an error, because a wrong guess would train on noise.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from guerdon_plugins.verifiers.code.asserts import AssertTests, list_tests, missing_names, row_tests
from guerdon_plugins.verifiers.code.encoded import unpack_cases
from guerdon_plugins.verifiers.code.facts import why_unsupported
from guerdon_plugins.verifiers.code.names import bound_names, parse

_ENTRY = re.compile(r"[^\W\d]\w*(\(\)\.[^\W\d]\w*)?")
_WRAPPERS = ("input_output", "tests", "ground_truth", "verification_info")
"""Columns that hold a suite of one of the other shapes, as a value or as JSON text."""


class SuiteError(ValueError):
    """A reference that is not a test suite."""


@dataclass(frozen=True, slots=True)
class StdioCase:
    """A program's input, and its expected output."""

    stdin: str
    expected: str


@dataclass(frozen=True, slots=True)
class StdioTests:
    """Whole programs: one run per case."""

    cases: Sequence[StdioCase]
    judge: str | None = None
    """Python source of a special judge, if several outputs are right."""
    checker: str | None = None
    """Python source of a checker program, which reads the input, the expected and the actual output from files."""


@dataclass(frozen=True, slots=True)
class FunctionCase:
    """A call with plain arguments, and its right results."""

    function: str
    args: Sequence[Any]
    accepted: Sequence[Any]


@dataclass(frozen=True, slots=True)
class FunctionTests:
    """Calls whose expected results are JSON values."""

    cases: Sequence[FunctionCase]
    otherwise: Sequence[Sequence[FunctionCase]] = ()
    """The same cases with other possible readings of their arguments."""


Tests: TypeAlias = StdioTests | FunctionTests | AssertTests


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one problem."""

    tests: Tests
    language: str | None = None
    """The language that the reference itself names."""
    solution: str | None = None
    """A program that passes, if the reference holds one."""

    @property
    def names(self) -> Sequence[str]:
        """Return the functions and classes that a program must define; empty for a whole program."""
        if isinstance(self.tests, AssertTests):
            return self.tests.names
        if isinstance(self.tests, FunctionTests):
            return (*dict.fromkeys(case.function for case in self.tests.cases), "Solution")
        return ()


def read_suite(reference: object) -> Suite:
    """Read a reference.

    Args:
        reference: One of the shapes that the verifier's documentation lists, or such a shape as JSON text.

    Raises:
        SuiteError: It has none of the shapes, is incomplete, or has no test.
    """
    try:
        key = reference if isinstance(reference, str) else json.dumps(reference)
    except (TypeError, ValueError):
        return _read(reference)
    return _read_text(key)


@lru_cache(maxsize=256)
def _read_text(text: str) -> Suite:
    """Read a text. Cached, because completions of one prompt share their reference."""
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
        f"a {type(reference).__name__} is not a test suite: give asserts, or a mapping with the tests"
    )


def _read_mapping(reference: Mapping[str, Any]) -> Suite:
    """Read a row by its columns."""
    language = _optional_text(reference, "language")
    for key in _WRAPPERS:
        if reference.get(key):
            inner = _read_wrapped(reference[key], key, reference)
            return Suite(inner.tests, inner.language or language, inner.solution)
    if "public_test_cases" in reference or "private_test_cases" in reference:
        return Suite(_livecodebench(reference), language)
    if "public_tests" in reference or "private_tests" in reference:
        return Suite(_codecontests(reference), language)
    if "official_tests" in reference:
        return Suite(_codeforces(reference), language)
    if "test_cases" in reference:
        return Suite(_typed_cases(_cases(reference, "test_cases"), reference), language)
    if "inputs" in reference or "outputs" in reference:
        return Suite(_parallel_lists(reference), language)
    if "test" in reference:
        return _python_row(reference, language)
    if "test_list" in reference:
        listed = reference["test_list"]
        if not _is_texts(listed) or not listed:
            raise SuiteError("'test_list' must be a list of asserts as text, and not empty")
        solution = _optional_text(reference, "code")
        tests = list_tests(list(listed), _test_setup(reference), solution or "")
        return Suite(_python(tests), language, solution)
    raise SuiteError(
        f"a mapping with {', '.join(map(repr, reference)) or 'nothing in it'} is not a test suite. It needs "
        "'test_cases', 'inputs' and 'outputs', 'test' and 'entry_point', or 'test_list'"
    )


def _read_wrapped(value: object, key: str, row: Mapping[str, Any]) -> Suite:
    """Read a column that holds a suite. The row's ``fn_name`` and ``metadata`` belong to the suite too."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise SuiteError(f"'{key}' is not JSON: {error}") from None
    shared = {
        name: row[name] for name in ("fn_name", "func_name", "metadata", "judge", "checker") if row.get(name)
    }
    if isinstance(value, Mapping):
        return _read({**shared, **value})
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return Suite(_typed_cases(value, shared))
    return _read(value)


def _python_row(reference: Mapping[str, Any], language: str | None) -> Suite:
    """Read a module of tests: HumanEval's, EvalPlus's, BigCodeBench's and LeetCodeDataset's rows."""
    test, entry_point = _text(reference, "test"), reference.get("entry_point")
    whole = _optional_text(reference, "completion") or _optional_text(reference, "code")
    if entry_point is None:
        if "candidate" in bound_names(test):
            raise SuiteError("the tests take a candidate, and no 'entry_point' names the function under test")
        return Suite(_python(list_tests([test], _test_setup(reference), whole or "")), language, whole)
    if not isinstance(entry_point, str) or not _ENTRY.fullmatch(entry_point):
        raise SuiteError(f"'entry_point' must name the function under test, got {entry_point!r}")
    prompt = _optional_text(reference, "complete_prompt") or _optional_text(reference, "prompt") or ""
    prelude = _optional_text(reference, "code_prompt") or prompt
    if not parse(prelude).body:
        prelude = ""  # the prompt is a task in words
    body = _optional_text(reference, "canonical_solution")
    solution = whole if body is None else prompt + body
    return Suite(_python(row_tests(test, entry_point, prelude)), language, solution)


def _test_setup(reference: Mapping[str, Any]) -> str:
    imports = reference.get("test_imports") or []
    if not _is_texts(imports):
        raise SuiteError("'test_imports' must be a list of import statements")
    return "\n".join([*imports, _optional_text(reference, "test_setup_code") or ""]).strip()


def _livecodebench(row: Mapping[str, Any]) -> StdioTests | FunctionTests:
    cases: list[Mapping[str, Any]] = []
    for key in ("public_test_cases", "private_test_cases"):
        value = row.get(key) or []
        if isinstance(value, str):
            try:
                value = unpack_cases(value)
            except ValueError as error:
                raise SuiteError(f"'{key}' cannot be unpacked: {error}") from None
        cases += _cases({key: value}, key) if value else []
    if not cases:
        raise SuiteError("'public_test_cases' and 'private_test_cases' are empty")
    return _typed_cases(cases, row)


def _codecontests(row: Mapping[str, Any]) -> StdioTests:
    cases = []
    for key in ("public_tests", "private_tests", "generated_tests"):
        part = row.get(key) or {}
        if not isinstance(part, Mapping):
            raise SuiteError(f"'{key}' must be a mapping with 'input' and 'output', got {part!r:.80}")
        inputs, outputs = part.get("input") or [], part.get("output") or []
        if len(inputs) != len(outputs):
            raise SuiteError(f"'{key}' has {len(inputs)} inputs and {len(outputs)} outputs")
        cases += [
            StdioCase(_lines(given), _lines(wanted)) for given, wanted in zip(inputs, outputs, strict=True)
        ]
    if not cases:
        raise SuiteError("'public_tests', 'private_tests' and 'generated_tests' are empty")
    return _stdio(cases, row)


def _codeforces(row: Mapping[str, Any]) -> StdioTests:
    if row.get("input_mode") == "file":
        raise SuiteError("the problem reads its input from a file, not from stdin")
    cases = _cases(row, "official_tests")
    return _stdio([StdioCase(_lines(case.get("input")), _lines(case.get("output"))) for case in cases], row)


def _stdio(cases: Sequence[StdioCase], row: Mapping[str, Any]) -> StdioTests:
    checker = _optional_text(row, "checker") or _optional_text(row, "generated_checker")
    return StdioTests(cases, _optional_text(row, "judge"), checker)


def _cases(row: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    cases = row[key]
    if not isinstance(cases, Sequence) or not cases or not all(isinstance(case, Mapping) for case in cases):
        raise SuiteError(f"'{key}' must be a list of mappings with input and output, and not empty")
    return cases


def _python(tests: AssertTests) -> AssertTests:
    for source in (tests.setup, *tests.sources):
        try:
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise SuiteError(f"the tests are not Python: {error}") from None
    missing = missing_names(tests)
    if missing:
        raise SuiteError(
            f"the tests use {', '.join(missing)}, which nothing defines; give the problem's 'prompt'"
        )
    if not tests.names or not tests.sources:
        raise SuiteError("the tests call nothing of the candidate")
    for source in (tests.setup, *tests.sources):
        why = why_unsupported(source, tests.names)
        if why is not None:
            raise SuiteError(why)
    return tests


def _typed_cases(
    cases: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> StdioTests | FunctionTests:
    """Read open-r1's verification_info, and LiveCodeBench's cases: each case names its type."""
    kinds = {str(case.get("type", case.get("testtype", "stdin_stdout"))) for case in cases}
    if kinds <= {"stdin_stdout", "stdin"}:
        stdio = [StdioCase(_text_or_lines(case, "input"), _text_or_lines(case, "output")) for case in cases]
        return _stdio(stdio, reference)
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
            StdioCase(_lines(given), _lines(wanted)) for given, wanted in zip(inputs, outputs, strict=True)
        ]
        return _stdio(cases, reference)
    return _function_tests([_name(reference, reference)] * len(inputs), inputs, outputs)


def _function_tests(names: Sequence[str], inputs: Sequence[Any], outputs: Sequence[Any]) -> FunctionTests:
    accepted = [_accepted(output) for output in outputs]
    first, *others = [
        [FunctionCase(*case) for case in zip(names, arguments, accepted, strict=True)]
        for arguments in _with_number_keys(_readings(inputs))
    ]
    return FunctionTests(first, others)


def _with_number_keys(readings: list[list[list[Any]]]) -> list[list[list[Any]]]:
    """Add the reading in which the keys of dicts are numbers, which JSON had turned into text."""
    converted = _number_keys(readings[0])
    return readings if converted == readings[0] else [*readings, converted]


def _number_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_number_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if keys and all(re.fullmatch(r"-?\d+", key) for key in keys):
        return {int(key): _number_keys(item) for key, item in value.items()}
    return {key: _number_keys(item) for key, item in value.items()}


def _readings(inputs: Sequence[Any]) -> list[list[list[Any]]]:
    """Return the possible readings of the arguments of every call, one or two, the more likely first.

    Text columns hold JSON: a list of the arguments, or LiveCodeBench's one argument per line. A line ``[1, 2]`` may be
    either, and ``5`` may be the text itself.
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
            # Lists of different lengths are more likely one argument each, because a function has a fixed number of
            # them.
            readings.insert(len({len(args) for args in lists}) > 1, lists)
    return readings[:2]


def _accepted(expected: Any) -> list[Any]:
    """Return the right results: the value itself, parsed as JSON, and without the one-item list of some data sets."""
    accepted = [expected]
    if isinstance(expected, str):
        with contextlib.suppress(ValueError):
            accepted.append(json.loads(expected))
    if isinstance(accepted[-1], list) and len(accepted[-1]) == 1:
        accepted += accepted[-1]
    return accepted


def _name(case: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    places = (case, _metadata(case), reference, _metadata(reference))
    name = next((place[key] for place in places for key in ("fn_name", "func_name") if place.get(key)), None)
    if not isinstance(name, str) or not name.isidentifier():
        raise SuiteError(f"'fn_name' must name the function to call, got {name!r}")
    return name


def _metadata(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    value = _json(mapping.get("metadata"))
    return value if isinstance(value, Mapping) else {}


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


def _text_or_lines(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return "\n".join(value) if isinstance(value, list) and _is_texts(value) else _text(mapping, key)


def _optional_text(mapping: Mapping[str, Any], key: str) -> str | None:
    return None if mapping.get(key) is None else _text(mapping, key)


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
