"""Pairs of answers that mean the same, and pairs that do not, judged in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon_plugins.verifiers.math import Judgement, compare


def pairs(name: str) -> list[tuple[str, str]]:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    return [(left, right) for line in lines for left, right in [line.split("  ~  ")]]


@pytest.mark.parametrize(("reference", "answer"), pairs("same.txt"))
def test_the_same_in_other_words(reference: str, answer: str):
    assert compare(answer, reference), compare(answer, reference).reason
    assert compare(reference, answer), compare(reference, answer).reason


@pytest.mark.parametrize(("reference", "answer"), pairs("different.txt"))
def test_something_else(reference: str, answer: str):
    verdict = compare(answer, reference)
    assert not verdict
    assert verdict.judgement is not Judgement.UNPARSEABLE_REFERENCE
    assert verdict.reason
    assert not compare(reference, answer)
