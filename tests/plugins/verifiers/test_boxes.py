"""Boxes and points: IoU, one-to-one pairs, and answers that are no boxes."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.shared.assignment import best_pairs
from guerdon_plugins.verifiers.boxes import Boxes, Shape, iou

TWO = [[0, 0, 10, 10], [20, 20, 40, 40]]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("[[0, 0, 10, 10], [20, 20, 40, 40]]", 1.0),
        ("[[20, 20, 40, 40], [0, 0, 10, 10]]", 1.0),
        ('```json\n[{"bbox_2d": [0, 0, 10, 10]}, {"box": [20, 20, 40, 40]}]\n```', 1.0),
        ("At [0, 0, 10, 10] and (20, 20, 40, 40).", 1.0),
        ("<think>[1, 1, 2, 2]</think><answer>[[0,0,10,10],[20,20,40,40]]</answer>", 1.0),
        ("[0, 0, 10, 10]", 0.5),
        ("[[0, 0, 10, 10], [0, 0, 10, 10]]", 0.5),
        ("[[0, 0, 10, 10], [20, 20, 40, 40], [1, 1, 2, 2], [3, 3, 4, 4]]", 0.5),
        ("[[0, 0, 10, 5], [20, 20, 40, 40]]", 0.75),
        ("[]", 0.0),
        ("none", 0.0),
        ("", 0.0),
        ("[[10, 10, 0, 0], [20, 20, 40, 40]]", 0.0),
        ("[[0, 0, NaN, 10]]", 0.0),
        ("[[0, 0, 1e400, 10]]", 0.0),
        ("[[0, 0, 10]]", 0.0),
        ("[[true, false, true, true]]", 0.0),
        ("[" * 50_000, 0.0),
        (json.dumps([[0, 0, 10, 10]] * 300), 0.0),
    ],
)
def test_boxes_mean_iou_of_one_to_one_pairs(answer: str, value: float) -> None:
    assert Boxes()(answer, TWO).value == pytest.approx(value)


def test_boxes_threshold_labels_and_format() -> None:
    assert Boxes(0.5)("[0, 0, 10, 6]", [0, 0, 10, 10]).value == 1.0
    assert Boxes(0.7)("[0, 0, 10, 6]", [0, 0, 10, 10]).value == 0.0
    gold = [{"bbox": [0, 0, 10, 10], "label": "Cat"}]
    assert Boxes(labels=True)('[{"bbox": [0, 0, 10, 10], "label": "cat"}]', gold).value == 1.0
    assert Boxes(labels=True)("[0, 0, 10, 10]", gold).value == 0.0
    assert Boxes(format="xywh")("[5, 5, 10, 10]", [5, 5, 10, 10]).value == 1.0
    assert Boxes()("[5, 5, 15, 15]", json.dumps([5, 5, 15, 15])).value == 1.0


@pytest.mark.parametrize(
    ("answer", "gold", "value"),
    [
        ("[5, 5]", [0, 0, 10, 10], 1.0),
        ('[{"point_2d": [5, 5], "label": "x"}]', [0, 0, 10, 10], 1.0),
        ("[50, 5]", [0, 0, 10, 10], 0.0),
        ("[3, 4]", [0, 0], 1.0),
        ("[30, 40]", [0, 0], 0.0),
        ("[0, 0, 10, 10]", [5, 5], 0.0),
        ("[[5, 5], [6, 6]]", [0, 0, 10, 10], 0.5),
    ],
)
def test_boxes_points(answer: str, gold: Any, value: float) -> None:
    assert Boxes(points_in_boxes=True)(answer, gold).value == value


def test_boxes_point_in_a_right_box_scores_0_by_default() -> None:
    assert Boxes()("[5, 5]", [0, 0, 10, 10]).value == 0.0


@pytest.mark.parametrize(
    "place", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "1e308", "true", "null"]
)
def test_boxes_number_that_is_not_a_place_scores_0(place: str) -> None:
    assert Boxes()(f"[[0, 0, 10, {place}]]", [[0, 0, 10, 10]]).value == 0.0


@pytest.mark.parametrize(
    "answer", ['{"x1": 0, "y1": 0, "x2": 9, "y2": 9}', '[{"left":0,"top":0,"right":9,"bottom":9}]']
)
def test_boxes_with_a_key_for_each_number_are_read(answer: str) -> None:
    assert Boxes()(answer, [0, 0, 9, 9]).value == 1.0


@pytest.mark.parametrize("reference", [None, "", [], {}, "x", [[1, 2, 3]], [[5, 5, 1, 1]], [["a"]], [1] * 7])
def test_boxes_unreadable_reference_fails(reference: Any) -> None:
    assert Boxes()("[1, 1, 2, 2]", reference).failure is Failure.REFERENCE
    assert Boxes().gold_completion(reference) is None


def test_boxes_gold_completion_scores_1() -> None:
    assert Boxes()(Boxes().gold_completion(TWO) or "", TWO).value == 1.0


@pytest.mark.parametrize("params", [{"threshold": 0.0}, {"threshold": 1.5}, {"distance": -1.0}])
def test_boxes_params_out_of_range_raise(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Boxes(**params)


VALUES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.floats(0, 1), min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(VALUES)
def test_best_pairs_have_the_largest_sum(values: list[list[float]]) -> None:
    rows, columns = range(len(values)), range(len(values[0]))
    few, many, flip = (rows, columns, False) if len(rows) <= len(columns) else (columns, rows, True)
    best = max(
        sum(
            values[other][one] if flip else values[one][other] for one, other in zip(few, chosen, strict=True)
        )
        for chosen in permutations(many, len(few))
    )
    pairs = best_pairs(values)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(few)
    assert sum(values[row][column] for row, column in pairs) == pytest.approx(best)


BOX = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(51, 99), st.integers(51, 99))


@given(BOX, BOX)
def test_iou_is_symmetric_and_1_only_for_the_same_box(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    one, other = Shape(tuple(map(float, first))), Shape(tuple(map(float, second)))
    assert iou(one, other) == iou(other, one)
    assert (iou(one, other) == 1.0) == (first == second)


@given(st.text(alphabet='[]{}0123456789,. -"abox', max_size=80))
def test_boxes_any_text_gets_a_share(answer: str) -> None:
    value = Boxes()(answer, TWO).value
    assert value is not None
    assert 0 <= value <= 1
