from __future__ import annotations

from typing import Any

from guerdon.report.intervals import with_intervals


def test_with_intervals_makes_one_text_of_a_number_its_interval_and_its_p_value() -> None:
    row = {
        "model": "a",
        "m": 0.5,
        "m_low": 0.25,
        "m_high": 0.75,
        "n": 3,
        "t": 120.0,
        "t_low": 90.0,
        "t_high": 151.0,
    }
    assert with_intervals([row]) == [
        {"model": "a", "m": "0.500 [0.250, 0.750]", "n": 3, "t": "120.0 [90.0, 151.0]"}
    ]
    tested = {"pair": "b - a", "m": -0.5, "m_low": -1.0, "m_high": 0.0, "m_p": 0.0625}
    assert with_intervals([tested]) == [{"pair": "b - a", "m": "-0.500 [-1.000, 0.000] p=0.062"}]
    assert with_intervals([{**tested, "m_p": 0.0001}])[0]["m"].endswith("p<0.001")


def test_with_intervals_leaves_rows_alone_whose_columns_only_look_like_intervals() -> None:
    rows: list[dict[str, Any]] = [
        {"x_low": 1.0, "x_high": 2.0},
        {"x": 1.0, "x_p": 0.5},
        {"x": "text", "x_low": 1.0, "x_high": 2.0},
    ]
    assert with_intervals(rows) == rows
