"""Pairs of answers that mean the same, and pairs that do not, judged in both directions."""

from __future__ import annotations

from pathlib import Path

from guerdon_plugins.verifiers.math import MathOutcome, Policy, compare

BY_VALUE = Policy(calculations=True)
"""What is left to calculate counts by its value here; whether it is an answer is a matter of policy."""


def pairs(name: str) -> list[tuple[str, str]]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    found = [(left, right) for line in lines for left, right in [line.split("  ~  ")]]
    assert found, name
    return found


def test_compare_the_same_in_other_words_is_equal() -> None:
    """One test for all pairs: pytest takes longer for a case of its own than the verifier for a pair."""
    wrong = [
        (left, right, verdict.reason)
        for pair in pairs("same.txt")
        for left, right in (pair, pair[::-1])
        if not (verdict := compare(left, right, BY_VALUE))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_compare_something_else_is_not_equal() -> None:
    wrong = []
    for reference, answer in pairs("different.txt"):
        verdict, turned = compare(answer, reference, BY_VALUE), compare(reference, answer, BY_VALUE)
        readable = verdict.outcome is not MathOutcome.UNPARSEABLE_REFERENCE
        if verdict or turned or not readable or not verdict.reason:
            wrong.append((reference, answer, verdict, turned))
    assert not wrong, "\n".join(map(str, wrong))
