"""``boxes``: compare boxes or points in an image with the right ones, paired one to one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guerdon import Failure, Score
from guerdon.data.references import plain
from guerdon.text import checked_tags, code_blocks, select_part
from guerdon_plugins.shared.assignment import best_pairs

MAX_SHAPES = 200
"""The most boxes or points of an answer or a reference."""

MAX_CHARACTERS = 100_000

_KEYS = ("bbox_2d", "bbox", "box_2d", "box", "point_2d", "point", "coordinates")
_NAMES = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
    ("x", "y"),
)
_LIST = re.compile(r"[\[(]\s*(-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?){1,3})\s*[\])]")


@dataclass(frozen=True, slots=True)
class Shape:
    """A box, ``(left, top, right, bottom)``, or a point, ``(x, y)``, with its label."""

    numbers: tuple[float, ...]
    label: str = ""

    @property
    def is_point(self) -> bool:
        return len(self.numbers) == 2

    @property
    def area(self) -> float:
        left, top, right, bottom = self.numbers
        return (right - left) * (bottom - top)


class Boxes:
    """Scores boxes or points against the right ones, paired one to one so that the sum is the largest.

    A pair of boxes is worth its IoU, the area of the intersection over that of the union. A point is worth 1 within
    ``distance`` of a right point; in a right box only with ``points_in_boxes``, because a point is easier than a box.
    The score is the sum over the pairs, divided by the larger number of shapes, so that a missing shape and one too
    many both cost. The answer is JSON (lists of numbers, or mappings with ``bbox_2d``, ``bbox``, ``box``, ``point_2d``,
    ``point`` or ``x1`` to ``y2``, and ``label``), or text with lists such as ``[12, 30, 80, 95]``.

    Args:
        threshold: The IoU from which a pair of boxes is worth 1 and below which 0; by default it is worth its IoU.
        distance: The largest distance of a point from a right point.
        labels: Whether a pair must have the same label.
        points_in_boxes: Whether a point in a right box is worth 1, as for clicks on a screen.
        format: The numbers of a box: two corners (``xyxy``), or a corner with width and height (``xywh``).
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: ``threshold`` is not above 0 and at most 1, or ``distance`` is negative.
    """

    audit_kind = "boxes"

    def __init__(
        self,
        threshold: float | None = None,
        distance: float = 10.0,
        labels: bool = False,
        points_in_boxes: bool = False,
        format: Literal["xyxy", "xywh"] = "xyxy",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if (threshold is not None and not 0 < threshold <= 1) or distance < 0:
            raise ValueError(
                f"threshold is {threshold} and distance {distance}; need 0 < threshold <= 1, distance >= 0"
            )
        self._threshold = threshold
        self._distance = distance
        self._labels = labels
        self._points_in_boxes = points_in_boxes
        self._sized = format == "xywh"
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str, reference: Any) -> Score:
        try:
            right = self._shapes(plain(_parsed(reference)))
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, f"the reference has no boxes or points: {error}")
        answer = _answer(completion, self._tags)
        try:
            found = self._shapes(_read(answer))
        except ValueError as error:
            return Score(0.0, answer=answer[:1000], explanation=f"the answer has no boxes or points: {error}")
        values = [[self._value(shape, gold) for gold in right] for shape in found]
        total = sum(values[row][column] for row, column in best_pairs(values))
        most = max(len(found), len(right))
        return Score(
            min(total / most, 1.0),
            answer=answer[:1000],
            explanation=f"{len(found)} shapes for {len(right)} right ones",
        )

    def gold_completion(self, reference: Any) -> str | None:
        """Return the reference as JSON, or ``None`` if it cannot be read."""
        value = plain(_parsed(reference))
        try:
            self._shapes(value)
        except ValueError:
            return None
        return json.dumps(value)

    def _value(self, shape: Shape, gold: Shape) -> float:
        if self._labels and shape.label != gold.label:
            return 0.0
        if shape.is_point and gold.is_point:
            return float(math.dist(shape.numbers, gold.numbers) <= self._distance)
        if shape.is_point:
            (x, y), (left, top, right, bottom) = shape.numbers, gold.numbers
            return float(self._points_in_boxes and left <= x <= right and top <= y <= bottom)
        if gold.is_point:
            return 0.0
        overlap = iou(shape, gold)
        return overlap if self._threshold is None else float(overlap >= self._threshold)

    def _shapes(self, value: Any) -> list[Shape]:
        """Return the shapes in a list, or the one that is not in a list.

        Raises:
            ValueError: There are none, too many, or one has no area or wrong numbers.
        """
        items = value if isinstance(value, list | tuple) and not _is_numbers(value) else [value]
        if not 0 < len(items) <= MAX_SHAPES:
            raise ValueError(f"there are {len(items)}; give 1 to {MAX_SHAPES}")
        return [self._shape(item) for item in items]

    def _shape(self, item: Any) -> Shape:
        numbers, label = item, ""
        if isinstance(item, Mapping):
            numbers = next((item[key] for key in _KEYS if key in item), None) or _named(item)
            label = " ".join(str(item.get("label", "")).casefold().split())
        if not _is_numbers(numbers) or len(numbers) not in (2, 4):
            raise ValueError(f"{item!r:.60} is not a box of four numbers or a point of two")
        if not all(abs(number) < 1e9 for number in numbers):
            raise ValueError(f"{item!r:.60} has a number that is not a place")
        found = [float(number) for number in numbers]
        if len(found) == 4 and self._sized:
            found[2:] = [found[0] + found[2], found[1] + found[3]]
        if len(found) == 4 and (found[2] <= found[0] or found[3] <= found[1]):
            raise ValueError(f"{item!r:.60} has no area")
        return Shape(tuple(found), label)


def iou(first: Shape, second: Shape) -> float:
    """Return the area of the intersection of two boxes over that of their union."""
    sides = [
        min(first.numbers[axis + 2], second.numbers[axis + 2])
        - max(first.numbers[axis], second.numbers[axis])
        for axis in (0, 1)
    ]
    if min(sides) <= 0:
        return 0.0
    shared = sides[0] * sides[1]
    return shared / (first.area + second.area - shared)


def _named(item: Mapping[str, Any]) -> list[Any] | None:
    """Return the numbers of a mapping with a key for each."""
    return next(([item[key] for key in keys] for keys in _NAMES if item.keys() >= set(keys)), None)


def _is_numbers(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    )


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _answer(completion: str, tags: Sequence[str]) -> str:
    answer = select_part(completion, "answer", tags)
    blocks = [block for block in code_blocks(answer) if block.language in ("", "json")]
    return (blocks[-1].code if blocks and blocks[-1].closed else answer).strip()


def _read(answer: str) -> Any:
    """Return the value of an answer: its JSON, or the lists of numbers in its text."""
    if len(answer) > MAX_CHARACTERS:
        return None
    value = _parsed(answer)
    if value is not None:
        return value
    return [[float(number) for number in found[1].split(",")] for found in _LIST.finditer(answer)]
