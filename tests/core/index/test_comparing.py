"""Two sides on the same prompts or completions: of two runs, of two verifiers, of two scored files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.index import Filters, RunIndex, grow_fully
from guerdon.index.comparing import Comparison, Side, compare
from guerdon.index.summing import overview


def row(prompt: str, completion: str, **values: float | None) -> dict[str, Any]:
    """Return a row as `guerdon score -o` writes it."""
    scores = {
        name: {"value": value, "outcome": "scored" if value is not None else "skipped", "weight": 1.0}
        for name, value in values.items()
    }
    reward = None if None in values.values() else sum(value or 0.0 for value in values.values())
    return {"prompt": prompt, "completion": completion, "reward": reward, "scores": scores}


def indexed(file: Path, rows: list[dict[str, Any]], folder: Path) -> RunIndex:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    stages = file.parent.parent
    index = RunIndex(stages.parent if stages.name == "stages" else file, folder)
    grow_fully(index)
    return index


OLD = [
    row("1+1", "2", a=1.0),
    row("1+1", "two", a=0.0),
    row("1+1", "two", a=0.0),
    row("2+2", "4", a=1.0),
    row("x", "y", a=0.0),
]
NEW = [
    row("1+1", "2", a=1.0),
    row("1+1", "two", a=1.0),
    row("1+1", "two", a=1.0),
    row("2+2", "4", a=0.0),
    row("z", "y", a=1.0),
]


@pytest.fixture
def rubrics(tmp_path: Path) -> tuple[RunIndex, RunIndex]:
    """Two files of the same completions, scored by two rubrics."""
    folder = tmp_path / "index"
    return indexed(tmp_path / "old.jsonl", OLD, folder), indexed(tmp_path / "new.jsonl", NEW, folder)


def totals(found: Comparison) -> tuple[int, int, int, int, int]:
    return found.count, found.better, found.worse, found.flipped_up, found.flipped_down


def test_scored_files_compare_by_completion_with_the_flips(rubrics: tuple[RunIndex, RunIndex]) -> None:
    old, new = rubrics
    found = compare(Side(old, Filters()), Side(new, Filters()), by="completion")
    assert totals(found) == (3, 1, 1, 1, 1)
    assert list(found.means) == [pytest.approx(2 / 3)] * 2
    by_prompt = {pair.prompt: pair for pair in found.pairs}
    assert by_prompt["1+1"].flip == 1
    assert by_prompt["1+1"].counts == (2, 2)
    assert [one.line for one in by_prompt["1+1"].rows] == [2, 2]
    assert by_prompt["2+2"].flip == -1


def test_scored_files_compare_by_prompt(rubrics: tuple[RunIndex, RunIndex]) -> None:
    old, new = rubrics
    found = compare(Side(old, Filters(), "a"), Side(new, Filters(), "a"), threshold=0.9)
    assert totals(found) == (2, 1, 1, 1, 1)
    assert {pair.prompt: pair.counts for pair in found.pairs} == {"1+1": (3, 3), "2+2": (1, 1)}


def test_flips_come_before_larger_changes(tmp_path: Path) -> None:
    old = indexed(tmp_path / "old.jsonl", [row("p", "small", a=0.4), row("p", "large", a=0.6)], tmp_path)
    new = indexed(tmp_path / "new.jsonl", [row("p", "small", a=0.6), row("p", "large", a=5.0)], tmp_path)
    found = compare(Side(old, Filters()), Side(new, Filters()), by="completion", size=1)
    assert [pair.flip for pair in found.pairs] == [1]
    assert found.better == 2


def test_two_verifiers_of_one_run_compare_by_completion(tmp_path: Path) -> None:
    rows = [
        row("p", "x", strict=0.0, kind=1.0),
        row("p", "y", strict=1.0, kind=1.0),
        row("p", "z", strict=None, kind=1.0),
    ]
    index = indexed(
        tmp_path / "run/stages/rl/rollouts.jsonl", [{"step": 1, "group": 0, **one} for one in rows], tmp_path
    )
    found = compare(Side(index, Filters(), "strict"), Side(index, Filters(), "kind"), by="completion")
    assert totals(found) == (2, 1, 0, 1, 0)
    assert found.pairs[0].rows[0].line == 1


def test_rows_scored_outside_of_a_run_have_one_stage_and_their_task(tmp_path: Path) -> None:
    index = indexed(tmp_path / "scored.jsonl", [{**OLD[0], "task": "sums"}, *OLD[1:]], tmp_path)
    assert overview(index).rollouts == {"scored": 5}
    assert list(overview(index).names.tasks) == ["sums"]
    assert overview(index).steps == {"scored": (1, 1)}


def test_two_runs_compare_on_the_prompts_that_both_have(tmp_path: Path) -> None:
    def of_run(name: str, values: dict[str, float]) -> RunIndex:
        rows = [
            {"step": 1, **row(f"What is {prompt}?", "so four", math=value)}
            for prompt, value in values.items()
        ]
        return indexed(tmp_path / name / "stages/rl/rollouts.jsonl", rows, tmp_path / "index")

    index = of_run("one", {"0": 0.5, "1": 1.0, "2": 0.0})
    other = of_run("two", {"1": 0.0, "2": 1.0, "3": 1.0})
    steps = Filters(stage="rl", step_max=1)
    found = compare(Side(index, steps, "math"), Side(other, steps, "math"))
    assert (found.count, found.better, found.worse) == (2, 1, 1)
    assert (found.flipped_up, found.flipped_down) == (1, 1)
    assert {pair.prompt: pair.change for pair in found.pairs} == {"What is 1?": -1.0, "What is 2?": 1.0}
    narrowed = Filters(stage="rl", step_max=1, prompt_text="is 2", text="four")
    assert compare(Side(index, narrowed), Side(other, narrowed)).count == 1
