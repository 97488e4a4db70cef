"""The charts: their points, scales and texts."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.report.charts import draw, draw_histogram, short, smoothed, thinned, ticks

FINITE = st.floats(-1e12, 1e12)


@given(st.lists(st.tuples(st.integers(0, 10**6), FINITE), min_size=1, max_size=900), st.booleans())
def test_chart_of_any_curve_is_well_formed_and_inside(points: list[tuple[int, float]], legend: bool) -> None:
    svg = draw('a "<title>"', {"<b>": sorted(points)}, legend=legend)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'a "<title>"'
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        for pair in str(line.get("points")).split():
            x, y = map(float, pair.split(","))
            assert 52 <= x <= 450
            assert 10 <= y <= 194
    assert "nan" not in svg


def test_chart_of_nothing_is_empty() -> None:
    assert "polyline" not in draw("none", {"a": []})


def test_labels_of_a_file_are_below_the_axes() -> None:
    svg = draw("two", {"first": [(1, 0.0), (2, 1.0)], "second": [(1, 1.0), (2, 0.0)]}, legend=True)
    places = {
        text: float(y) for y, text in re.findall(r'<text x="[^"]*" y="([^"]*)"[^>]*>([a-z]+)</text>', svg)
    }
    assert places.keys() == {"first", "second"}
    assert all(y > 220 for y in places.values())


@given(st.lists(FINITE, min_size=1, max_size=2000))
def test_thinned_curve_keeps_its_end_and_its_mean(values: list[float]) -> None:
    curve = [(float(step), value) for step, value in enumerate(values)]
    few = thinned(curve, 100)
    assert len(few) <= 100
    assert few[-1][0] == curve[-1][0]
    assert min(values) - 1e-3 <= min(value for _, value in few)
    assert max(value for _, value in few) <= max(values) + 1e-3


def test_smoothed_curve_is_the_mean_of_a_tenth() -> None:
    curve = [(float(step), float(step % 2)) for step in range(40)]
    assert smoothed(curve)[0] == (0.0, 0.0)
    assert all(value == 0.5 for _, value in smoothed(curve)[3:])


@given(FINITE, st.floats(1e-6, 1e9))
def test_ticks_are_few_and_inside(least: float, span: float) -> None:
    most = least + span
    if most - least < abs(least) * 1e-9:
        return
    found = ticks(least, most, 4)
    assert len(found) <= 6
    assert all(least - span * 1e-6 <= value <= most + span * 1e-6 for value in found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (12_500, "12.5k"), (2e7, "2e+07"), (1e-5, "1e-05"), (-3, "-3")],
)
def test_numbers_of_axes_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_histogram_says_what_each_cell_is() -> None:
    svg = draw_histogram("rewards", [(1, 2), (3, 3)], [0.0, 0.5, 1.0], [[3, 1], [0, 4]])
    said = [title.text for title in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
    assert said == [
        "steps 1 to 2: 3 of 4 rewards from 0 to 0.5",
        "steps 1 to 2: 1 of 4 rewards from 0.5 to 1",
        "step 3: 4 of 4 rewards from 0.5 to 1",
    ]
