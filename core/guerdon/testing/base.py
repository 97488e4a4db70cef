"""Shared by the kits: the plugin under test, and running the checks without pytest.

A check is a ``test_`` method, which pytest runs directly. Its docstring's first line states the requirement. A check
that fails raises ``guerdon.errors.CheckFailedError`` with the observation, the reason, and the fix.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from unittest import SkipTest

from guerdon.errors import CheckFailedError, GuerdonError, one_line
from guerdon.plugins.boundary import describe, line_of
from guerdon.plugins.component import Component, load_component
from guerdon.plugins.contracts import misspelt_members
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.params import check_params


def broken(what: str, *, why: str, fix: str) -> CheckFailedError:
    """Return the error of a failed check."""
    return CheckFailedError(f"{what}\n  why: {why}\n  fix: {fix}")


class Conformance:
    """The base of the kits: a plugin of one kind, named as in a manifest."""

    plugin: ClassVar[str]
    """A name, ``distribution/name``, an import string, or a file relative to the test's own folder."""
    params: ClassVar[Mapping[str, Any]] = {}
    """Its params, as in a manifest."""
    base_dir: ClassVar[Path | None] = None
    """The folder that relative paths start from; by default the one of the test's file."""
    kinds: ClassVar[Sequence[Kind]]
    throughput: ClassVar[str] = ""
    """The throughput measured in the checks, for the report. It never fails a check."""

    @classmethod
    def setup_class(cls) -> None:
        """Set up the class; pytest calls this before the first check."""

    @classmethod
    def teardown_class(cls) -> None:
        """Tear down the class; pytest calls this after the last check."""

    @classmethod
    def folder(cls) -> Path:
        """Return the folder where relative paths start."""
        return cls.base_dir or Path(inspect.getfile(cls)).parent

    @classmethod
    def component(cls) -> Component:
        """Return the plugin with its params.

        Raises:
            UsageError: It is not found, does not load, or does not take the params.
        """
        folder = cls.folder()
        component = load_component(find_plugin(cls.plugin, cls.kinds, folder), cls.params, folder)
        check_params(component, component.loaded)
        return component

    def test_loads(self) -> None:
        """It is found, imports, takes its params, and none of its optional members is misspelt."""
        component = self.component()
        if problems := misspelt_members(component.kind, component.loaded):
            raise broken(
                f"it {problems[0]}",
                why="the engine reads optional members by their names; another name is never read.",
                fix="the members of each kind are listed in the reference, in plugins.md.",
            )
        component.build()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check of a kit."""

    check: str
    holds: str
    """The requirement that the check tests."""
    outcome: Literal["passed", "failed", "skipped"]
    message: str
    """Why it failed or was skipped."""
    seconds: float
    """Wall time."""


def run_checks(
    kit: type[Conformance], begins: Callable[[str, int, int], None] = lambda _check, _number, _total: None
) -> Iterator[CheckResult]:
    """Run a kit's checks in order, without pytest. A plugin that does not load ends the run.

    Args:
        kit: The checks, of one plugin.
        begins: Called before each check with its name, its number (from 1) and the number of checks.

    Raises:
        InfrastructureError: A service or file outside the plugin is missing or down.
    """
    instance = kit()
    kit.setup_class()
    try:
        names = _checks(kit)
        for number, name in enumerate(names, start=1):
            begins(_label(name), number, len(names))
            result = _run(instance, name)
            yield result
            if name == "test_loads" and result.outcome == "failed":
                return
    finally:
        kit.teardown_class()


def _checks(kit: type[Conformance]) -> list[str]:
    names = [name for base in reversed(kit.__mro__) for name in vars(base) if name.startswith("test_")]
    return list(dict.fromkeys(names))


def _label(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _run(instance: Conformance, name: str) -> CheckResult:
    check = getattr(instance, name)
    holds = (inspect.getdoc(check) or "").partition("\n")[0]
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    message = ""
    started = time.perf_counter()
    try:
        check()
    except SkipTest as reason:
        outcome, message = "skipped", str(reason)
    except CheckFailedError as error:
        outcome, message = "failed", str(error)
    except GuerdonError as error:
        if isinstance(error, OSError):
            raise
        outcome, message = "failed", one_line(error)
    except Exception as error:  # a plugin may raise anything
        outcome, message = "failed", describe(error) + line_of(error, instance.component().loaded)
    return CheckResult(_label(name), holds, outcome, message, time.perf_counter() - started)
