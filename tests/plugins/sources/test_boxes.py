"""The miniature agent's problems: right answers need the tool, and pages show it carelessly."""

from __future__ import annotations

from itertools import islice
from typing import Any

from guerdon_plugins.sources.miniature.boxes import Boxes, Kind
from guerdon_plugins.tools.boxes import LARGEST, SMALLEST, number_in, open_box


def rows(kind: Kind, count: int = 500) -> list[dict[str, Any]]:
    return list(islice(iter(Boxes(kind)), count))


def test_reference_is_the_boxs_number_and_the_questions() -> None:
    for row in rows("problems"):
        question = row["prompt"][0]["content"]
        assert row["box"] in question
        change = int(row["reference"]) - number_in(row["box"])
        assert str(abs(change)) in question
        assert (change > 0) == ("plus" in question or "add" in question.lower())


def test_numbers_of_boxes_cannot_be_guessed() -> None:
    numbers = [number_in(f"{first}-{second}") for first in range(10, 100) for second in range(10, 100)]
    counts = [numbers.count(number) / len(numbers) for number in range(SMALLEST, LARGEST + 1)]
    assert set(numbers) == set(range(SMALLEST, LARGEST + 1))
    assert max(counts) < 0.06


def test_pages_call_the_tool_and_show_its_results() -> None:
    pages = [row["completion"] for row in rows("pages", 2000)]
    calls = [turns for turns in pages if turns[0].get("tool_calls")]
    assert 0.3 < len(calls) / len(pages) < 0.6
    for call, result, answer in calls:
        arguments = call["tool_calls"][0]["function"]["arguments"]
        assert result["content"] == open_box(**arguments)
        assert answer["content"].startswith(result["content"])


def test_few_pages_are_right() -> None:
    right = 0
    for row in rows("pages", 2000):
        question, turns = row["prompt"][0]["content"], row["completion"]
        asked = row["split_key"]
        size = int(question.rstrip("?.").split()[-1])
        sign = 1 if "plus" in question or "add" in question.lower() else -1
        right += turns[-1]["content"].endswith(f"\\boxed{{{number_in(asked) + sign * size}}}.")
    assert 0.25 < right / 2000 < 0.4
