"""Show the conformance kit's results in pytest: messages without the kit's code, and throughput at the end.

pytest loads this module in every environment that has guerdon, so it imports only the errors.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from guerdon.errors import CheckFailedError

_PROPERTY = "guerdon throughput"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    throughput = getattr(getattr(item, "cls", None), "throughput", None)  # an attribute of the kit
    if throughput is None:
        return report
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailedError):
        report.longrepr = str(call.excinfo.value)
    if throughput and call.when == "call":
        report.user_properties.append((_PROPERTY, throughput))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    # One line for each class, with its latest measurement.
    lines = {
        report.nodeid.rpartition("::")[0]: value
        for report in reports
        for name, value in report.user_properties
        if name == _PROPERTY
    }
    if lines:
        terminalreporter.section("guerdon throughput (measured here, never asserted)")
        for line in lines.values():
            terminalreporter.line(str(line))
