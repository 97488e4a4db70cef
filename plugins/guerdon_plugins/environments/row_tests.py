"""The tests of a row of the environment ``shell``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from guerdon.errors import DataError

_KINDS = {
    "run": {"run", "stdin", "stdout", "files"},
    "file": {"file", "content"},
    "python": {"python", "source"},
    "script": {"script", "files"},
}
"""The keys of a test, by the key that says what kind it is."""


@dataclass(frozen=True, slots=True)
class OutputTest:
    """A command whose standard output is compared with the expected one, outside the container."""

    run: str
    stdout: str
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that the command finds in addition to those that the model left."""


@dataclass(frozen=True, slots=True)
class FileTest:
    """A file that is compared with the expected one, outside the container."""

    file: str
    content: str


@dataclass(frozen=True, slots=True)
class PythonTest:
    """Asserts about the functions of one file, which run in another process than that file's code."""

    python: str
    source: str


@dataclass(frozen=True, slots=True)
class ScriptTest:
    """A script whose exit status decides: 0 passes."""

    script: str
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that only the script's container has, in the folder ``/tests``, where nothing can change them."""


RowTest: TypeAlias = OutputTest | FileTest | PythonTest | ScriptTest


def read_tests(tests: Any) -> list[RowTest]:
    """Return the tests of a row's column ``tests``: a list of objects, or its JSON text.

    Raises:
        DataError: It has no tests, or one that cannot be read.
    """
    if isinstance(tests, str):
        try:
            tests = json.loads(tests)
        except ValueError as error:
            raise DataError(f"column 'tests' is not JSON: {error}. Give a list of tests.") from None
    if not isinstance(tests, Sequence) or not tests:
        raise DataError(f"column 'tests' is {tests!r:.60}. Give a list with at least one test.")
    return [_read(number, test) for number, test in enumerate(tests, start=1)]


def read_files(files: Any, where: str) -> dict[str, str]:
    """Return texts by path: an object, or its JSON text.

    Raises:
        DataError: It is something else.
    """
    if isinstance(files, str):
        try:
            files = json.loads(files)
        except ValueError as error:
            raise DataError(f"{where} is not JSON: {error}. Give an object of texts by path.") from None
    if files is None:
        return {}
    if isinstance(files, Mapping):
        files = {
            path: text for path, text in files.items() if text is not None
        }  # a table's other rows' columns
        if all(isinstance(path, str) and isinstance(text, str) for path, text in files.items()):
            return dict(files)
    raise DataError(f"{where} is {files!r:.60}. Give an object of texts by path.")


def _read(number: int, test: Any) -> RowTest:
    if not isinstance(test, Mapping):
        raise DataError(f"test {number} is {test!r:.60}. Give an object.")
    fields = {key: value for key, value in test.items() if value is not None}
    kinds = [kind for kind in _KINDS if kind in fields]
    if len(kinds) != 1:
        raise DataError(f"test {number} has the keys {', '.join(fields)}. Give one of {', '.join(_KINDS)}.")
    (kind,) = kinds
    if unknown := fields.keys() - _KINDS[kind]:
        raise DataError(
            f"test {number} has the key '{min(unknown)}'. A test with '{kind}' takes {', '.join(sorted(_KINDS[kind]))}."
        )
    given = {key: value for key, value in fields.items() if key != "files"}
    if wrong := [key for key, value in given.items() if not isinstance(value, str)]:
        raise DataError(f"test {number}: '{wrong[0]}' is {given[wrong[0]]!r:.60}. Give a text.")
    files = {"files": read_files(fields.get("files"), f"test {number}: 'files'")} if "files" in fields else {}
    makers: Mapping[str, type[Any]] = {
        "run": OutputTest,
        "file": FileTest,
        "python": PythonTest,
        "script": ScriptTest,
    }
    try:
        made: RowTest = makers[kind](**given, **files)
    except TypeError as error:
        raise DataError(f"test {number} lacks a key: {error}.") from None
    return made
