from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.errors import DataError
from guerdon_plugins.shared.difficulty import Bands
from guerdon_plugins.sources.files import Files


def rows_of(rates: list[float]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"f:{n}", {"prompt": str(n), "pass_rate": rate}) for n, rate in enumerate(rates)]


def drawn(rates: list[float], *bands: dict[str, float]) -> list[int]:
    return [int(row["prompt"]) for row in Bands.of(bands).drawn(lambda: rows_of(rates))]


def test_bands_without_weights_keep_each_row_inside_once_and_in_order() -> None:
    assert drawn([0.0, 0.5, 1.0, 0.25, 0.9], {"from": 0.1, "to": 0.9}) == [1, 3, 4]
    assert drawn([0.0, 0.5, 1.0], {"to": 0.0}, {"from": 1.0}) == [0, 2]


def test_bands_with_weights_repeat_the_rows_of_a_small_band() -> None:
    rates = [0.2, 0.6, 0.2, 0.2, 0.2, 1.0]
    assert drawn(rates, {"to": 0.5, "weight": 1}, {"from": 0.5, "to": 0.9, "weight": 0.5}) == [
        0,
        1,
        1,
        2,
        3,
        4,
    ]


def test_band_that_comes_first_gets_the_rows_of_both() -> None:
    assert drawn([0.5, 0.5, 0.7], {"to": 0.5, "weight": 1}, {"from": 0.5, "weight": 2}) == [0, 1, 2, 2, 2, 2]


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(1, 30), st.integers(1, 30))
def test_bands_give_their_shares_and_lose_no_row(rates: list[float], easy: int, hard: int) -> None:
    rates = [0.1, 0.9, *rates]
    found = Counter(drawn(rates, {"to": 0.5, "weight": hard / 10}, {"from": 0.5, "weight": easy / 10}))
    low = sum(count for number, count in found.items() if rates[number] <= 0.5)
    high = found.total() - low
    sizes = sum(rate <= 0.5 for rate in rates), sum(rate > 0.5 for rate in rates)
    assert set(found) == set(range(len(rates)))
    # One band is used once; the other is as large as its share says, but for a part of a row.
    assert low == sizes[0] or high == sizes[1]
    assert abs(low * easy - high * hard) < max(easy, hard)


@pytest.mark.parametrize(
    ("bands", "problem"),
    [
        ([], "no band"),
        ([{"from": 0.5, "to": 0.1}], "0.5 to 0.1"),
        ([{"from": -0.1}], "-0.1 to 1"),
        ([{"to": 90}], "0 to 90"),
        ([{"weight": 0}], "weight 0"),
        ([{"weight": 1}, {"from": 0.5}], "with and without a weight"),
        ([{"low": 0.5}], "'low'"),
    ],
)
def test_bands_that_contradict_themselves_raise(bands: list[dict[str, float]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Bands.of(bands)


@pytest.mark.parametrize("value", [None, "often", 1.5, -0.1, True, [0.5], "nan"])
def test_row_without_a_pass_rate_raises_with_its_place(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"prompt": "a", "pass_rate": 0.5}) + "\n" + json.dumps({"pass_rate": value}) + "\n"
    )
    with pytest.raises(DataError, match=r"a.jsonl:2: pass_rate is .*guerdon profile -o"):
        list(Files(str(path), difficulty=[{"from": 0.1}]))


def test_band_with_a_weight_and_no_row_raises() -> None:
    with pytest.raises(DataError, match=r"0\.9 to 1"):
        drawn([0.5], {"to": 0.5, "weight": 1}, {"from": 0.9, "weight": 1})


def test_files_with_difficulty_reads_a_renamed_column_and_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,rate\na,0.5\nb,1.0\n")
    source = Files(
        str(path), columns={"prompt": "question", "pass_rate": "rate"}, difficulty=[{"from": 0.1, "to": 0.9}]
    )
    assert list(source) == [{"prompt": "a", "pass_rate": "0.5"}] == list(source)
