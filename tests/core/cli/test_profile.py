"""``guerdon profile`` on scored files and on a run's rollouts, and what it says of wrong inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.records import record
from guerdon.types import Judgement, Rollout, Score, Verdict
from guerdon_plugins.sources.files import Files

PLUGIN = """
def equal(completion, reference):
    return completion == str(reference)

def half(completion, reference):
    return 0.5

def broken(completion, reference):
    raise ValueError("broken")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PLUGIN)
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


COMPLETIONS = [
    {"prompt": prompt, "completion": completion, "reference": reference, "level": 1}
    for prompt, reference, completions in [
        ("1 + 1?", "2", "2232"),
        ("2 + 2?", "4", "4444"),
        ("3 + 3?", "6", "1"),
    ]
    for completion in completions
]


def test_profile_of_a_scored_file_gives_rows_that_a_source_draws_by_difficulty(
    call: Any, folder: Path
) -> None:
    write(folder / "rows.jsonl", COMPLETIONS)
    assert call("score", "rows.jsonl", "--use", "./p.py:equal", "-o", "scored.jsonl").status == 0
    ended = call("profile", "scored.jsonl", "-o", "profile.jsonl")
    assert ended.status == 0, ended.out + ended.err
    assert read(folder / "profile.jsonl") == [
        {"prompt": "1 + 1?", "reference": "2", "level": 1, "pass_rate": 0.75, "samples": 4},
        {"prompt": "2 + 2?", "reference": "4", "level": 1, "pass_rate": 1.0, "samples": 4},
        {"prompt": "3 + 3?", "reference": "6", "level": 1, "pass_rate": 0.0, "samples": 1},
    ]
    source = Files(str(folder / "profile.jsonl"), difficulty=[{"from": 0.1, "to": 0.9}])
    assert [row["prompt"] for row in source] == ["1 + 1?"]


def test_profile_with_a_rubric_judges_again(call: Any, folder: Path) -> None:
    write(folder / "rows.jsonl", COMPLETIONS)
    again = ("--use", "./p.py:half", "--use", "./p.py:equal", "-o", "out.jsonl")
    assert call("profile", "rows.jsonl", *again, "--by", "equal").status == 0
    assert [row["pass_rate"] for row in read(folder / "out.jsonl")] == [0.75, 1.0, 0.0]
    assert call("profile", "rows.jsonl", *again, "--by", "half", "--least", "0.5").status == 0
    assert [row["pass_rate"] for row in read(folder / "out.jsonl")] == [1.0, 1.0, 1.0]
    assert call("profile", "rows.jsonl", *again, "--by", "reward", "--least", "1.5").status == 0
    assert [row["pass_rate"] for row in read(folder / "out.jsonl")] == [0.75, 1.0, 0.0]


def rollout(prompt: str, score: Score, **extra: Any) -> dict[str, Any]:
    judged = Judgement.of({"math": Verdict(score, 1.0, 1.0)})
    return record(Rollout(prompt, "text", {"reference": "7"}), judged, step=1, **extra)


def test_profile_of_a_runs_rollouts_counts_scored_ones_of_one_model(call: Any, folder: Path) -> None:
    rows = [
        rollout("a", Score(1.0), model="small"),
        rollout("a", Score(0.0), model="small"),
        rollout("a", Score.failed("timeout", "slow"), model="small"),
        rollout("b", Score.skipped("no"), model="small"),
        rollout("a", Score(1.0), model="large"),
    ]
    write(folder / "rollouts.jsonl", rows)
    refused = call("profile", "rollouts.jsonl")
    assert refused.status == 2
    assert "rollouts.jsonl:5: the completions are of several models: small, large" in refused.err
    ended = call("profile", "rollouts.jsonl", "--model", "small", "-o", "out.jsonl")
    assert ended.status == 0, ended.out + ended.err
    assert read(folder / "out.jsonl") == [{"prompt": "a", "reference": "7", "pass_rate": 0.5, "samples": 2}]
    assert "left out: 1 prompts without a score" in ended.out + ended.err
    unknown = call("profile", "rollouts.jsonl", "--model", "huge")
    assert unknown.status == 2
    assert "Models: small, large" in unknown.err


def sampled(text: str, score: Score | None, dropped: str | None, prompt: str = "a") -> dict[str, Any]:
    """A line of the stage sample, which judges neither what is cut off nor what repeats."""
    judged = Judgement.of({} if score is None else {"math": Verdict(score, 1.0, 1.0)})
    return record(Rollout(prompt, text, {}), judged, step=1, dropped=dropped)


def test_profile_of_samples_counts_repeated_and_cut_off_ones(call: Any, folder: Path) -> None:
    rows = [
        sampled("so 7", Score(1.0), None),
        sampled("so  7", None, "repeated"),
        sampled("so 7 is", None, "cut off"),
        sampled("so 8", Score(0.0), "math below 1"),
        sampled("", None, "refused: too long"),
        sampled("so 7", None, "cut off", prompt="b"),
        sampled("no", Score(0.0), "math below 1", prompt="c"),
        sampled("no", None, "repeated", prompt="c"),
    ]
    write(folder / "rollouts.jsonl", rows)
    ended = call("profile", "rollouts.jsonl", "-o", "out.jsonl")
    assert ended.status == 0, ended.err
    assert read(folder / "out.jsonl") == [
        {"prompt": "a", "pass_rate": 0.5, "samples": 4},
        {"prompt": "b", "pass_rate": 0.0, "samples": 1},
        {"prompt": "c", "pass_rate": 0.0, "samples": 2},
    ]


def test_profile_of_equal_prompts_with_other_references_keeps_them_apart(call: Any, folder: Path) -> None:
    write(
        folder / "rows.jsonl",
        [{"prompt": "x", "completion": "1", "reference": reference} for reference in ("1", "2", "1")],
    )
    assert call("profile", "rows.jsonl", "--use", "./p.py:equal", "-o", "out.jsonl").status == 0
    assert [(row["reference"], row["pass_rate"]) for row in read(folder / "out.jsonl")] == [
        ("1", 1.0),
        ("2", 0.0),
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing.jsonl"], "missing.jsonl"),
        (["rows.jsonl"], "rows.jsonl:1: has no columns 'reward' and 'scores'"),
        (["rows.jsonl", "--use", "./p.py:equal", "--by", "equl"], "Did you mean 'equal'?"),
        (["rows.jsonl", "--use", "./p.py:equal", "--use", "./p.py:half"], "--by"),
        (["rows.jsonl", "--use", "./p.py:equal", "-o", "rows.jsonl"], "is the input itself"),
        (["rows.jsonl", "--use", "./p.py:equal", "-o", "out.csv"], "a profile is JSONL"),
        (["rows.jsonl", "--use", "./p.py:equal", "-o", "nowhere/out.jsonl"], "nowhere"),
        (["rows.jsonl", "--workers", "2"], "add --use"),
        (["rows.jsonl", "--least", "much"], "--least"),
        (["rows.jsonl", "--least", "nan"], "nan is not a finite number"),
        (["rows.jsonl", "--use", "./p.py:equal", "--model", "x"], "the rows name none"),
        (["rows.jsonl", "--use", "./p.py:broken"], "none of 3 prompts has a score"),
        (["prompts.jsonl", "--use", "./p.py:equal"], "prompts.jsonl:1: has no column 'prompt'"),
    ],
)
def test_profile_of_wrong_input_names_the_problem_on_one_line(
    call: Any, folder: Path, arguments: list[str], problem: str
) -> None:
    write(folder / "rows.jsonl", COMPLETIONS)
    write(folder / "prompts.jsonl", [{"completion": "1", "reference": "1"}])
    ended = call("profile", *arguments)
    assert ended.status in (1, 2, 3)
    assert problem in " ".join((ended.out + ended.err).split())
    assert json.loads((folder / "rows.jsonl").read_text().splitlines()[0]) == COMPLETIONS[0]


def test_profile_that_fails_leaves_the_earlier_output(call: Any, folder: Path) -> None:
    (folder / "out.jsonl").write_text("before\n")
    (folder / "rows.jsonl").write_text(json.dumps(COMPLETIONS[0]) + "\nnot JSON\n")
    assert call("profile", "rows.jsonl", "--use", "./p.py:equal", "-o", "out.jsonl").status == 2
    assert (folder / "out.jsonl").read_text() == "before\n"
    assert [path.name for path in folder.glob(".*partial")] == []
