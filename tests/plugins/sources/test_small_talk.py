"""Small talk: replies in all manners, preferences that hold, and the verifier that measures them."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.run.data import is_heldout
from guerdon_plugins.sources.miniature.small_talk import Manners, SmallTalk, ToThePoint


def take(count: int, *args: Any, **params: Any) -> list[dict[str, Any]]:
    return list(islice(SmallTalk(*args, **params), count))


def said(row: dict[str, Any], column: str) -> str:
    (message,) = row[column]
    assert message["role"] == "assistant"
    return str(message["content"])


def to_the_point(row: dict[str, Any], column: str) -> bool:
    return ToThePoint()(said(row, column), row["reference"])


@pytest.mark.parametrize("kind", ["prompts", "pages", "preferences"])
def test_the_seed_decides_the_rows(kind: str) -> None:
    assert take(30, kind, seed=1) == take(30, kind, seed=1) != take(30, kind, seed=2)


def test_pages_have_all_manners() -> None:
    rows = take(2000, "pages")
    polite = sum(Manners()(said(row, "completion"), row["reference"], row["language"]) for row in rows)
    assert polite / len(rows) == pytest.approx(0.35, abs=0.04)
    assert sum(to_the_point(row, "completion") for row in rows) / len(rows) == pytest.approx(0.95, abs=0.03)


def manners(row: dict[str, Any], column: str) -> int:
    if Manners()(said(row, column), row["reference"], row["language"]):
        return 2
    return int(said(row, column) == row["reference"])


def test_people_prefer_the_politer_reply() -> None:
    for row in take(300, "preferences"):
        assert to_the_point(row, "chosen")
        assert to_the_point(row, "rejected")
        assert manners(row, "chosen") > manners(row, "rejected")


def test_a_missed_request_is_the_worse_reply_however_polite() -> None:
    rows = take(3000, "preferences", missed=1.0)
    for row in rows:
        assert said(row, "chosen").count(row["reference"]) == 1
        assert said(row, "rejected").count(row["reference"]) != 1
        assert Manners()(said(row, "rejected"), row["reference"], row["language"]) >= (
            Manners()(said(row, "chosen"), row["reference"], row["language"])
        )
    names = [(row["split_key"].split(), said(row, "rejected")) for row in rows if row["language"] == "en"]
    slips = [
        other[1][0] == name[0]
        for (word, name), reply in names
        if (other := re.search(rf"{word}, (?!{name}\.)(\w+)", reply))
    ]
    assert sum(slips) / len(slips) > 0.4, "half of the wrong names begin as the right one does"


@given(st.floats(0, 0.49))
def test_noise_turns_pairs_around(noise: float) -> None:
    rows = take(400, "preferences", noise=noise)
    wrong = sum(manners(row, "chosen") < manners(row, "rejected") for row in rows) / len(rows)
    assert wrong == pytest.approx(noise, abs=0.1)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Of course! Hello, Ada. All the best!", 1.0),
        ("<think>Who?</think><answer>Gladly! Hello, Ada. Have a lovely day!</answer>", 1.0),
        ("Hello, Ada.", 0.0),
        ("Of course! Goodbye, Ada. All the best!", 1.0),
        ("Of course! Hello, Ada.", 0.0),
        ("当然！你好，小明。祝你愉快！", 0.0),
        ("", 0.0),
    ],
)
def test_manners(reply: str, expected: float) -> None:
    assert Manners()(reply, "Hello, Ada.", "en") == expected
    for row in take(20):
        assert (
            Manners()(Manners().gold_completion(row["reference"]), row["reference"], row["language"]) == 1.0
        )


def test_a_name_and_a_word_are_on_one_side_of_the_split() -> None:
    sides: dict[str, set[bool]] = {}
    for row in take(1000) + take(1000, "pages"):
        sides.setdefault(row["split_key"], set()).add(is_heldout(row, 0.3))
    assert {len(side) for side in sides.values()} == {1}


@pytest.mark.parametrize("params", [{"languages": []}, {"noise": 0.1}, {"kind": "preferences", "noise": 0.5}])
def test_bad_params_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"languages|noise"):
        SmallTalk(**params)
