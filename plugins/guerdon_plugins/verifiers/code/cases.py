"""The tests of a problem, whatever the shape in which its data set has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from guerdon_plugins.verifiers.code.asserts import AssertTests


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
