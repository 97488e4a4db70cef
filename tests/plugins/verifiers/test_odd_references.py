"""A reference of any type is a score or a typed failure, and its gold completion is text or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guerdon import Score
from guerdon_plugins.verifiers.abstain import Abstain
from guerdon_plugins.verifiers.boxes import Boxes
from guerdon_plugins.verifiers.choice import Choice
from guerdon_plugins.verifiers.citations import Citations
from guerdon_plugins.verifiers.instructions import Instructions
from guerdon_plugins.verifiers.json_schema import JsonSchema
from guerdon_plugins.verifiers.match import Match
from guerdon_plugins.verifiers.overlap import Overlap
from guerdon_plugins.verifiers.qa import QuestionAnswer
from guerdon_plugins.verifiers.sql import Sql

VERIFIERS = [
    Abstain(),
    Boxes(),
    Choice(),
    Choice(gold="index"),
    Choice(several=True),
    Instructions(),
    JsonSchema(),
    Match(),
    Match("pattern"),
    Match(lists="all"),
    Overlap(),
    QuestionAnswer(),
    Sql(),
]

ODD: list[Any] = [
    None,
    "",
    [],
    {},
    {"a": 1},
    {1: 2},
    [{}],
    [None],
    [[1]],
    True,
    float("nan"),
    float("inf"),
    10**400,
    b"x",
    object(),
    np.float64("nan"),
    np.array([1, 2]),
    "[" * 9999,
    "\ud800",
    {"text": 3},
    {"text": {"a": 1}},
    {"spans": "abc"},
    {"aliases": 5},
    {"value": {}},
    {"date": 7},
    {"number": []},
    {"examples": 3},
    '{"examples": {"a": 1}}',
    {"instruction_id_list": 5, "kwargs": 7},
    {"instruction_id": None},
    [{"id": None}],
    {"bbox": "abc"},
]


@pytest.mark.parametrize("verifier", VERIFIERS, ids=lambda verifier: type(verifier).__name__)
def test_odd_reference_gives_a_score_and_gold_text_or_none(verifier: Any) -> None:
    for reference in ODD:
        assert isinstance(verifier("x", reference), Score), reference
        if hasattr(verifier, "gold_completion"):
            assert isinstance(verifier.gold_completion(reference), str | None), reference


@pytest.mark.parametrize("reference", ODD, ids=lambda reference: repr(reference)[:20])
def test_odd_column_gives_a_score(reference: Any) -> None:
    assert isinstance(Choice()("x", "A", reference), Score)
    assert isinstance(Citations()("x [1]", reference, reference), Score)
    assert isinstance(Sql()("x", "SELECT 1", reference), Score)
    assert isinstance(Sql()("x", "SELECT 1", None, reference), Score)
    assert isinstance(JsonSchema()("{}", None, reference), Score)
    assert isinstance(Instructions()("x", None, reference, reference), Score)
