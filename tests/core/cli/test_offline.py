"""``guerdon score`` on Parquet and with a cache, and ``guerdon diff``: what users type, and what they mistype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PLUGINS = """
from pathlib import Path
from guerdon import Failure, Score

def old(completion, reference):
    return Score(float(completion == reference), explanation="old: compared")

def new(completion, reference):
    right = completion.strip(". ") == reference
    return Score(float(right), explanation=f"new: {'right' if right else 'wrong'}")

def counted(completion):
    with Path("calls.txt").open("a") as log:
        print(completion, file=log)
    return 1.0

def flaky(completion):
    return Score.failed(Failure.TIMEOUT, "too slow") if completion == "7." else 1.0

def picky(completion):
    return None if completion == "7." else 1.0
"""

ROWS = [
    {"prompt": "3 + 4?", "completion": "7", "reference": "7"},
    {"prompt": "3 + 4?", "completion": "7.", "reference": "7"},
    {"prompt": "3 + 4?", "completion": "8", "reference": "7"},
]

MANIFEST = """
name: x
stages:
  - {{id: a, use: grpo, data: [{{use: files, params: {{path: rows.jsonl}}}}], rewards: [{rewards}]}}
  - {{id: b, use: grpo, data: [{{use: files, params: {{path: rows.jsonl}}}}], rewards: [{{use: './p.py:picky'}}]}}
model: m
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PLUGINS)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, use in (("one", "old"), ("two", "new")):
        (tmp_path / f"{name}.yaml").write_text(
            MANIFEST.format(
                rewards=f"{{use: './p.py:{use}', name: answer, weight: 2}}, {{use: './p.py:picky'}}"
            )
        )
    return tmp_path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_parquet_in_and_out(call: Any, folder: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    import pyarrow.parquet

    assert call("score", "rows.jsonl", "--use", "./p.py:new", "-o", "rows.parquet").status == 0
    again = call("score", "rows.parquet", "--use", "./p.py:old", "-o", "again.parquet")
    assert (again.status, "rows.parquet: 3 rows" in again.out) == (0, True), again.err
    table = pyarrow.parquet.read_table(folder / "again.parquet").to_pylist()
    assert [row["reward"] for row in table] == [1.0, 0.0, 0.0]
    assert json.loads(table[1]["scores"])["old"]["explanation"] == "old: compared"
    both = call("diff", "rows.parquet", "again.parquet", "--json")
    assert [flip["where"] for flip in json.loads(both.out)["flips"]] == ["rows.parquet[1]"]


def test_a_cache_goes_on_where_it_was(call: Any, folder: Path) -> None:
    command = ("score", "rows.jsonl", "--use", "./p.py:counted", "--cache", "scores.db", "-o", "out.jsonl")
    assert call(*command).status == 0
    first = read(folder / "out.jsonl")
    assert call(*command).status == 0
    assert (folder / "calls.txt").read_text().count("\n") == len(ROWS)
    assert [row["reward"] for row in read(folder / "out.jsonl")] == [row["reward"] for row in first]
    (folder / "p.py").write_text(PLUGINS.replace("return 1.0\n\ndef flaky", "return 0.25\n\ndef flaky"))
    assert call(*command).status == 0  # a changed file is another version
    assert [row["reward"] for row in read(folder / "out.jsonl")] == [0.25] * len(ROWS)


def test_the_summary_names_the_slowest_and_the_failing(call: Any) -> None:
    ended = call("score", "rows.jsonl", "--use", "./p.py:flaky", "--use", "./p.py:picky")
    assert ended.status == 0
    assert "slowest: '" in ended.out
    assert "rows.jsonl:" in ended.out
    assert "failing: 'flaky', 1 of 3 (timeout 1), the last time: too slow" in ended.out


def test_diff_of_two_plugins(call: Any) -> None:
    ended = call("diff", "./p.py:old", "./p.py:new", "rows.jsonl")
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[:4] == [
        "rows.jsonl:2: old / new: 0.000 -> 1.000",
        "  A: old: compared",
        "  B: new: right",
        "  completion: '7.'",
    ]
    assert "1 verdict differs" in ended.out


def test_diff_of_two_manifests_compares_by_name(call: Any) -> None:
    ended = call(
        "diff", "one.yaml", "two.yaml", "rows.jsonl", "--stage", "a", "--json", "--cache", "scores.db"
    )
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    (flip,) = found["flips"]
    assert (flip["verifier"], flip["reward_a"], flip["reward_b"]) == ("answer", 0.0, 2.0)
    assert (flip["a"]["explanation"], flip["b"]["explanation"]) == ("old: compared", "new: right")
    assert {row["name"]: row["same"] for row in found["counts"]} == {"answer": 2, "picky": 3, "reward": 2}


def test_diff_of_one_plugin_with_other_params(call: Any) -> None:
    ended = call(
        *("diff", "math", "math", "rows.jsonl", "--json"),
        *("--param", "A.extraction=whole", "--param", "B.extraction=boxed"),
    )
    assert [flip["verifier"] for flip in json.loads(ended.out)["flips"]] == ["math", "math"], ended.err


def test_diff_of_scored_files_tells_failed_from_skipped(call: Any) -> None:
    for use in ("flaky", "picky"):
        assert call("score", "rows.jsonl", "--use", f"./p.py:{use}", "-o", f"{use}.jsonl").status == 0
    ended = call("diff", "flaky.jsonl", "picky.jsonl")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("flaky.jsonl:2: flaky / picky: timeout -> skipped\n  A: too slow\n")
    assert call("diff", "flaky.jsonl", "flaky.jsonl").out.startswith("0 verdicts differ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["math"], "Missing argument 'B'"),
        (["rows.jsonl", "rows.jsonl"], "rows.jsonl:1: has no columns 'reward' and 'scores'"),
        (["math", "code"], "'math' does not exist. To compare two plugins"),
        (["maht", "math", "rows.jsonl"], "Did you mean 'math'?"),
        (["math", "math", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["one.yaml", "two.yaml", "rows.jsonl"], "has rewards in the stages a, b"),
        (["one.yaml", "two.yaml", "rows.jsonl", "--stage", "c"], "has rewards in the stages a, b"),
        (
            ["one.yaml", "math", "rows.jsonl", "--stage", "a"],
            "nothing to compare: A has answer, picky, and B math",
        ),
        (
            ["one.yaml", "math", "rows.jsonl", "--param", "A.x=1", "--stage", "a"],
            "is a manifest, which has its own",
        ),
        (["math", "math", "rows.jsonl", "--param", "math.x=1"], "names no plugin that is used: A, B"),
        (["math", "math", "rows.jsonl", "--param", "A.extrction=whole"], "Did you mean 'extraction'?"),
        (["math", "math", "rows.jsonl", "--cache", "rows.jsonl"], "is a file of another kind"),
        (["done.jsonl", "done.jsonl", "--column", "a=b"], "--column is for scoring"),
        (["done.jsonl", "other.jsonl"], "different completions"),
        (["done.jsonl", "short.jsonl"], "short.jsonl ends before done.jsonl:2"),
        (["done.jsonl", "empty.jsonl"], "empty.jsonl holds no rows"),
        (["done.jsonl", "unjudged.jsonl"], "no verifier judged any of its rows"),
    ],
)
def test_diff_with_wrong_input(call: Any, folder: Path, arguments: list[str], words: str) -> None:
    score = {"value": 1.0, "outcome": "scored", "failure": None}
    done = [{**row, "reward": 1.0, "scores": {"m": score}} for row in ROWS]
    files = {
        "done": done,
        "other": [{**row, "completion": "?"} for row in done],
        "short": done[:1],
        "empty": [],
        "unjudged": [{**row, "scores": {}} for row in done],
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = call("diff", *arguments)
    assert ended.status == 2, ended.err
    assert words in ended.err


def test_score_with_a_stage_and_no_manifest(call: Any) -> None:
    ended = call("score", "rows.jsonl", "--use", "math", "--stage", "a")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "--stage a names a stage of a manifest" in ended.err


def test_score_says_in_how_many_completions_no_answer_was_found(call: Any) -> None:
    done = call("score", "rows.jsonl", "--use", "math")
    assert (
        "no answer: 'math' found none in 3 of 3 completions, the last time: there is no complete" in done.out
    )
    assert (
        "no answer"
        not in call("score", "rows.jsonl", "--use", "math", "--param", "math.extraction=whole").out
    )


def test_score_with_the_names_of_a_column_swapped_suggests_the_swap(call: Any, folder: Path) -> None:
    (folder / "other.jsonl").write_text('{"response": "7", "reference": "7"}\n')
    done = call("score", "other.jsonl", "--use", "math", "--column", "response=completion")
    assert done.status != 0
    assert "write --column completion=response" in done.err


def test_diff_of_two_plugins_without_completions_asks_for_them(call: Any) -> None:
    ended = call("diff", "./p.py:old", "math")
    assert ended.status == 2
    assert "guerdon diff ./p.py:old math ROLLOUTS" in ended.err
