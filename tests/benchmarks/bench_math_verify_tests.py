"""Run Math-Verify's own tests of pairs, unchanged, with guerdon in place of its ``parse`` and ``verify``.

    pip download --no-deps --no-binary :all: math-verify && tar xzf math_verify-*.tar.gz
    python tests/benchmarks/bench_math_verify_tests.py math_verify-0.9.0

Files on Math-Verify's own configurations, timeouts and sympy objects, which hold no pairs of answers, are left out.
What is compared is the box, else the last formula, else the whole text. Every disagreement is printed with its reason.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import math_verify
import pytest

from guerdon_plugins.verifiers.math import Policy, compare, extract

FILES = ("test_all.py", "test_boxed.py", "test_numina_cases.py", "test_open_thoughts.py", "test_strict.py", "test_yujianll.py")  # fmt: skip # noqa: E501
POLICY = Policy(calculations=True)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)


def answer_in(text: str) -> str:
    """The box of a text, else its last formula, else all of it."""
    if (found := extract(text).answer) is not None:
        return found
    formulas = [next(filter(None, match.groups())) for match in _FORMULA.finditer(text)]
    return formulas[-1] if formulas else text


def parse(text: str, *_: Any, **__: Any) -> str:
    """Stand in for ``math_verify.parse``: nothing is read yet."""
    return text


class Record:
    """Stands in for ``math_verify.verify``, counts the tests, and prints those that disagree."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.outcomes: dict[str, int] = {}

    def verify(self, gold: str, answer: str, *_: Any, **__: Any) -> bool:
        verdict = compare(answer_in(answer), answer_in(gold), POLICY)
        self.asked = [f"{answer!r} for {gold!r}: {verdict.outcome}, {verdict.reason}"]
        return bool(verdict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1
        if report.failed:
            sys.stdout.write(
                f"{report.nodeid.rpartition('::')[2].partition('[')[0]}: {self.asked[-1][:400]}\n"
            )


def main(folder: Path) -> None:
    """Run the tests in Math-Verify's unpacked source."""
    record = Record()
    math_verify.parse, math_verify.verify = parse, record.verify
    os.chdir(folder)
    sys.path.insert(0, ".")
    options = [
        "-q",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir=.",
        "-c",
        os.devnull,
    ]
    pytest.main([*options, "-r", "N", *(f"tests/{name}" for name in FILES)], plugins=[record])
    sys.stdout.write(f"{record.outcomes}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
