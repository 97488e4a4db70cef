"""Read test suites in the shapes that data sets use.

Reading is strict: a suite that cannot be read with certainty is an error, because a wrong guess would train on noise.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from guerdon_plugins.verifiers.code.asserts import AssertTests, list_tests, missing_names, row_tests
from guerdon_plugins.verifiers.code.cases import Suite, SuiteError
from guerdon_plugins.verifiers.code.columns import is_texts, mappings, optional_text, text
from guerdon_plugins.verifiers.code.facts import why_unsupported
from guerdon_plugins.verifiers.code.formats import (
    codecontests,
    codeforces,
    livecodebench,
    parallel_lists,
    typed_cases,
)
from guerdon_plugins.verifiers.code.names import bound_names, parse

_ENTRY = re.compile(r"[^\W\d]\w*(\(\)\.[^\W\d]\w*)?")
_WRAPPERS = ("input_output", "tests", "ground_truth", "verification_info")
"""Columns that hold a suite of one of the other shapes, as a value or as JSON text."""


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
            return Suite(typed_cases(reference, {}))
    raise SuiteError(f"{reference!r:.60} is not a test suite: give asserts, or a mapping with the tests")


def _read_mapping(reference: Mapping[str, Any]) -> Suite:
    """Read a row by its columns."""
    language = optional_text(reference, "language")
    for key in _WRAPPERS:
        if reference.get(key):
            inner = _read_wrapped(reference[key], key, reference)
            return Suite(inner.tests, inner.language or language, inner.solution)
    if "public_test_cases" in reference or "private_test_cases" in reference:
        return Suite(livecodebench(reference), language)
    if "public_tests" in reference or "private_tests" in reference:
        return Suite(codecontests(reference), language)
    if "official_tests" in reference:
        return Suite(codeforces(reference), language)
    if is_texts(reference.get("test_cases")) and reference["test_cases"]:
        return Suite(_python(list_tests(list(reference["test_cases"]))), language)
    if "test_cases" in reference:
        return Suite(typed_cases(mappings(reference, "test_cases"), reference), language)
    if "inputs" in reference or "outputs" in reference:
        return Suite(parallel_lists(reference), language)
    if "test" in reference:
        return _python_row(reference, language)
    if "test_list" in reference:
        listed = reference["test_list"]
        if not is_texts(listed) or not listed:
            raise SuiteError("'test_list' must be a list of asserts as text, and not empty")
        solution = optional_text(reference, "code")
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
        return Suite(typed_cases(value, shared))
    return _read(value)


def _python_row(reference: Mapping[str, Any], language: str | None) -> Suite:
    """Read a module of tests: HumanEval's, EvalPlus's, BigCodeBench's and LeetCodeDataset's rows."""
    test, entry_point = text(reference, "test"), reference.get("entry_point")
    whole = optional_text(reference, "completion") or optional_text(reference, "code")
    if entry_point is None:
        if "candidate" in bound_names(test):
            raise SuiteError("the tests take a candidate, and no 'entry_point' names the function under test")
        return Suite(_python(list_tests([test], _test_setup(reference), whole or "")), language, whole)
    if not isinstance(entry_point, str) or not _ENTRY.fullmatch(entry_point):
        raise SuiteError(f"'entry_point' must name the function under test, got {entry_point!r}")
    prompt = optional_text(reference, "complete_prompt") or optional_text(reference, "prompt") or ""
    prelude = optional_text(reference, "code_prompt") or prompt
    if not parse(prelude).body:
        prelude = ""  # the prompt is a task in words
    body = optional_text(reference, "canonical_solution")
    solution = whole if body is None else prompt + body
    return Suite(_python(row_tests(test, entry_point, prelude)), language, solution)


def _test_setup(reference: Mapping[str, Any]) -> str:
    imports = reference.get("test_imports") or []
    if not is_texts(imports):
        raise SuiteError("'test_imports' must be a list of import statements")
    return "\n".join([*imports, optional_text(reference, "test_setup_code") or ""]).strip()


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
