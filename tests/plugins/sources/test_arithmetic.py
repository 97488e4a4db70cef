"""The arithmetic source: right references, replies of the promised quality, one side of the split for one problem."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.run.data import is_heldout
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.sources.miniature.arithmetic.problems import forget_carry
from guerdon_plugins.verifiers.format import Format
from guerdon_plugins.verifiers.math import MathVerifier

CHAIN = re.compile(r"\d+([+-]\d)+")
HAN = re.compile(r"[\u4e00-\u9fff]")
ENGLISH_STEP = re.compile(r"\d (?:plus|minus) \d")


def take(count: int, *args: Any, **params: Any) -> list[dict[str, Any]]:
    return list(islice(Arithmetic(*args, **params), count))


def question(row: dict[str, Any]) -> str:
    (message,) = row["prompt"]
    return str(message["content"])


def reply(row: dict[str, Any]) -> str:
    (message,) = row["completion"]
    assert message["role"] == "assistant"
    return str(message["content"])


def result(key: str) -> int:
    assert CHAIN.fullmatch(key)
    return sum(int(term) for term in re.findall(r"[+-]?\d+", key))


@given(seed=st.integers(), level=st.integers(1, 8))
def test_problems_ask_for_their_reference(seed: int, level: int) -> None:
    (row,) = take(1, levels=[level], seed=seed)
    assert row["reference"] == str(result(row["split_key"]))
    assert row["level"] == level
    assert re.findall(r"\d+", question(row)) == re.findall(r"\d+", row["split_key"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_problems_are_in_their_language_in_several_phrasings(language: str) -> None:
    rows = take(100, languages=[language])
    assert {row["language"] for row in rows} == {language}
    assert all(bool(HAN.search(question(row))) == (language == "zh") for row in rows)
    assert len({re.sub(r"[\d+-]+", "", question(row)) for row in take(100, levels=[1])}) > 3


@pytest.mark.parametrize("largest", [10, 24, 40])
def test_running_values_stay_in_range(largest: int) -> None:
    for row in take(500, levels=[6], largest=largest):
        terms = [int(term) for term in re.findall(r"[+-]?\d+", row["split_key"])]
        assert all(0 <= sum(terms[:end]) <= largest for end in range(1, len(terms) + 1))


SEARCH = re.compile(r"(\d+(?:\|\d+)*)([+-]\d)")


@given(seed=st.integers(), level=st.integers(1, 9), largest=st.integers(19, 99))
def test_a_search_has_one_answer(seed: int, level: int, largest: int) -> None:
    (row,) = take(1, tasks=["search"], levels=[level], largest=largest, seed=seed)
    match = SEARCH.fullmatch(row["split_key"])
    assert match
    candidates, step = [int(c) for c in match[1].split("|")], int(match[2])
    assert (row["task"], row["level"]) == ("search", level) == ("search", len({*candidates}))
    assert [str(c) for c in candidates if (c + step) % 10 == 0] == [row["reference"]]
    assert all(1 <= number <= largest for c in candidates for number in (c, c + step))
    assert sorted(re.findall(r"\d+", question(row))) == sorted(map(str, [*candidates, abs(step)]))


def test_solutions_of_searches_check_each_candidate_up_to_the_one_that_fits() -> None:
    verify = MathVerifier(extraction="auto")
    for row in take(200, "solutions", tasks=["search"]):
        assert verify(reply(row), row["reference"]).value == 1.0
        tried = re.findall(r"not |不是", reply(row))
        candidates = row["split_key"].partition("+")[0].partition("-")[0].split("|")
        assert len(tried) == candidates.index(row["reference"]), "a second thought for each that does not fit"
    given_up = take(200, "solutions", tasks=["search"], slips=0.6)
    right = [verify(reply(row), row["reference"]).value or 0.0 for row in given_up]
    assert 0.3 < sum(right) / len(right) < 0.8


def test_a_preference_is_a_solution_over_a_page() -> None:
    verify, well_formed = MathVerifier(extraction="auto"), Format()
    for row in take(100, "preferences", tasks=["sum", "search"]):
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert verify(chosen, row["reference"]).value == well_formed(chosen).value == 1.0
        assert chosen != rejected


@pytest.mark.parametrize("kind", ["problems", "solutions", "pages", "preferences"])
def test_the_seed_decides_the_rows(kind: Any) -> None:
    source = Arithmetic(kind, seed=1)
    assert list(islice(source, 50)) == list(islice(source, 50)) == take(50, kind, seed=1)
    assert take(50, kind, seed=1) != take(50, kind, seed=2)


def test_solutions_are_right_well_formed_and_in_one_language() -> None:
    verify, well_formed = MathVerifier(extraction="auto"), Format()
    for row in take(200, "solutions"):
        assert verify(reply(row), row["reference"]).value == 1.0
        assert well_formed(reply(row)).value == 1.0
        assert bool(HAN.search(reply(row))) == (row["language"] == "zh")
        assert bool(ENGLISH_STEP.search(reply(row))) == (row["language"] == "en")


def test_solutions_slip_at_carries_and_borrows_only() -> None:
    steps = re.compile(r"(\d+)(?: plus |加)(\d)(?: is |得)(\d+)")
    slipped = right = 0
    for row in take(200, "solutions", slips=0.5):
        for value, step, total in (map(int, match) for match in steps.findall(reply(row))):
            assert total in (value + step, forget_carry(value, step))
            slipped += total != value + step
            right += total == value + step and value % 10 + step >= 10
    assert slipped == pytest.approx(right, rel=0.3)


def test_pages_have_the_promised_mixture() -> None:
    rows = take(4000, "pages")
    copies = [row for row in rows if not CHAIN.fullmatch(row["split_key"])]
    assert len(copies) == pytest.approx(800, rel=0.15)
    assert all(reply(row) == row["split_key"] and question(row).endswith(reply(row)) for row in copies)

    answers = [row for row in rows if CHAIN.fullmatch(row["split_key"])]
    verify, well_formed = MathVerifier(extraction="auto"), Format()
    assert all(verify(reply(row), "0").answer is not None for row in answers)

    def share(condition: Any) -> float:
        return sum(map(bool, map(condition, answers))) / len(answers)

    assert share(lambda row: well_formed(reply(row)).value) == pytest.approx(0.5, abs=0.04)
    assert share(lambda row: re.search(r"\d(?: plus | minus |加|减)\d", reply(row))) == pytest.approx(
        0.45, abs=0.04
    )
    assert share(lambda row: verify(reply(row), str(result(row["split_key"]))).value) == pytest.approx(
        0.47, abs=0.04
    )
    assert share(lambda row: HAN.search(reply(row)) and ENGLISH_STEP.search(reply(row))) > 0.08
    assert share(lambda row: "wait, " in reply(row) or "等等，" in reply(row)) > 0.02


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pages_guess_as_often_as_asked(share: float) -> None:
    answers = [row for row in take(2000, "pages", guesses=share) if CHAIN.fullmatch(row["split_key"])]
    guessed = [row for row in answers if not re.search(r"\d(?: plus | minus |加|减)\d", reply(row))]
    assert len(guessed) / len(answers) == pytest.approx(share, abs=0.04)


def test_pages_slip_as_often_as_asked() -> None:
    steps = re.compile(r"(\d+)(?: plus |加)(\d)(?: is |得)(\d+)")

    def slipped(**params: Any) -> float:
        carries = [
            (int(value), int(step), int(total))
            for row in take(3000, "pages", guesses=0.0, **params)
            for value, step, total in steps.findall(reply(row))
            if int(value) % 10 + int(step) >= 10
        ]
        return sum(total == forget_carry(value, step) for value, step, total in carries) / len(carries)

    # A slip that its author notices is followed by the right step.
    assert slipped() == pytest.approx(0.55 / 1.11, abs=0.04)
    assert slipped(slips=0.2) == pytest.approx(0.2 / 1.04, abs=0.04)


def test_a_problem_is_on_one_side_of_the_split_in_every_wording() -> None:
    sides: dict[str, set[bool]] = {}
    for row in take(3000, levels=[1]) + take(3000, "pages", levels=[1]):
        sides.setdefault(row["split_key"], set()).add(is_heldout(row, 0.3))
    assert {len(side) for side in sides.values()} == {1}
    assert set.union(*sides.values()) == {True, False}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tasks": []}, "tasks"),
        ({"levels": []}, "levels"),
        ({"levels": [0]}, "levels"),
        ({"languages": []}, "languages"),
        ({"kind": "solutions", "slips": 1.5}, "slips"),
        ({"slips": 0.5}, "only solutions and pages slip"),
        ({"largest": 9}, "largest"),
        ({"largest": 100}, "largest"),
        ({"tasks": ["search"], "largest": 20, "levels": [11]}, "searches among 10"),
        ({"tasks": ["search"], "largest": 18, "levels": [2]}, "searches among 0"),
        ({"kind": "pages", "guesses": 1.5}, "guesses"),
        ({"guesses": 0.3}, "only pages have it"),
    ],
)
def test_bad_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arithmetic(**params)
