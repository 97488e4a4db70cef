"""Rewrites of real gold answers that keep their meaning are accepted, edits that change it are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from math_rewrites import changing, keeping

from guerdon_plugins.verifiers.math import Policy, compare

BY_VALUE = Policy(calculations=True)
"""Many rewrites leave something to calculate, which is a matter of policy."""


def golds(shared_data: Path) -> list[str]:
    found = []
    for name in ("math500", "amc23", "aime24", "gsm8k_test"):
        for line in (shared_data / "data" / f"{name}.jsonl").read_text("utf-8").splitlines():
            found.append(json.loads(line)["answer"].rpartition("####")[2].strip())
    return list(dict.fromkeys(found))


@pytest.mark.slow
def test_compare_rewrites_that_keep_the_meaning_are_equal(shared_data: Path) -> None:
    cases = [(gold, name, text) for gold in golds(shared_data) for name, text in keeping(gold)]
    refused = [case for case in cases if not compare(case[2], case[0], BY_VALUE)]
    assert len({name for _, name, _ in cases}) >= 40
    assert len(cases) > 20_000
    assert len(refused) <= len(cases) / 1000, refused


@pytest.mark.slow
def test_compare_edits_that_change_the_meaning_are_not_equal(shared_data: Path) -> None:
    cases = [(gold, name, text) for gold in golds(shared_data) for name, text in changing(gold)]
    accepted = [case for case in cases if compare(case[2], case[0], BY_VALUE)]
    assert len({name for _, name, _ in cases}) >= 40
    assert len(cases) > 10_000
    assert accepted == []
