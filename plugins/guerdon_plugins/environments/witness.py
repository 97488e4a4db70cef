"""A plugin of pytest that runs with a script's tests: it notes which runs of pytest passed.

It is written into the container of the tests and not imported here, so it needs pytest only. A module under test that
ends the process, or pytest, with status 0 leaves a run without an end.
"""

import os
import sys
from importlib.util import find_spec
from typing import Any

_LOG = os.environ.get("GUERDON_TESTS_LOG", os.devnull)
_seen: set[str] = set()
_failed: list[int] = []


def _note(word: str) -> None:
    with open(_LOG, "a") as file:  # noqa: PTH123
        file.write(f"{word} {os.getpid()}\n")


def pytest_addoption(parser: Any) -> None:
    """Accept the option of pytest-json-ctrf, which Harbor's test scripts set. Its report is not read here."""
    if find_spec("ctrf") is None:
        parser.addoption("--ctrf", help="ignored: pytest-json-ctrf is not installed")


def pytest_configure() -> None:
    """Note a start."""
    _note("start")


def pytest_runtest_logreport(report: Any) -> None:
    """Count a test that passed or was skipped."""
    if report.skipped or (report.when == "call" and report.passed):
        _seen.add(report.nodeid)


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    """Note an end, if all tests were counted and none failed."""
    if int(exitstatus) != 0:
        _failed.append(int(exitstatus))
    elif 0 < session.testscollected == len(_seen):
        _note("end")


def pytest_unconfigure() -> None:
    """End a run that failed before what a module under test has registered for the end can change its status."""
    if _failed:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_failed[0])
