"""Pairs of answers that mean the same, and pairs that do not, judged in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon_plugins.verifiers.math import MathOutcome, Policy, compare

BY_VALUE = Policy(calculations=True)
"""What is left to calculate counts by its value here; whether it is an answer is a matter of policy."""


def pairs(name: str) -> list[tuple[str, str]]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    return [(left, right) for line in lines for left, right in [line.split("  ~  ")]]


@pytest.mark.parametrize(("reference", "answer"), pairs("same.txt"))
def test_compare_the_same_in_other_words_is_equal(reference: str, answer: str) -> None:
    for left, right in ((answer, reference), (reference, answer)):
        verdict = compare(left, right, BY_VALUE)
        assert verdict, verdict.reason


@pytest.mark.parametrize(("reference", "answer"), pairs("different.txt"))
def test_compare_something_else_is_not_equal(reference: str, answer: str) -> None:
    verdict = compare(answer, reference, BY_VALUE)
    assert not verdict
    assert verdict.outcome is not MathOutcome.UNPARSEABLE_REFERENCE
    assert verdict.reason
    assert not compare(reference, answer, BY_VALUE)
