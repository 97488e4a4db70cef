"""``guerdon score`` and ``diff`` on the files that users have: formats, standard input, runs, and wrong rows."""

from __future__ import annotations

import gzip
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from guerdon.cli.targets import yaml_value
from guerdon.records import record
from guerdon.types import Judgement, Rollout, Score, Verdict

PLUGIN = """
def equal(completion, reference):
    return completion == str(reference)

def free(completion):
    return 1.0
"""

ROWS = [
    {"prompt": "3 + 4?", "completion": "7", "reference": "7"},
    {"prompt": "3 + 4?", "completion": "8", "reference": "7"},
]

LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PLUGIN)
    return tmp_path


def rewards(path: Path) -> list[float | None]:
    return [json.loads(line)["reward"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("rows.JSONL", LINES.encode()),
        ("rows.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("rows.json", json.dumps(ROWS).encode()),
        ("rows.csv", b"\xef\xbb\xbfprompt,completion,reference\n3 + 4?,7,7\n3 + 4?,8,7\n"),
        ("rows.tsv", b"prompt\tcompletion\treference\n3 + 4?\t7\t7\n3 + 4?\t8\t7\n"),
    ],
)
def test_score_of_every_format_gives_the_same_rewards(
    call: Any, folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    ended = call("score", name, "--use", "./p.py:equal", "-o", "out.jsonl")
    assert ended.status == 0, ended.err
    assert rewards(folder / "out.jsonl") == [1.0, 0.0]


def test_score_of_standard_input_reads_jsonl(
    call: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LINES.encode())))
    ended = call("score", "-", "--use", "./p.py:equal", "-o", "out.csv")
    assert ended.status == 0, ended.err
    assert "standard input: 2 rows" in ended.out
    assert (
        (folder / "out.csv")
        .read_text()
        .startswith("prompt,completion,reference,reward,scores\n3 + 4?,7,7,1.0,")
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LINES.encode())))
    assert call("diff", "./p.py:equal", "./p.py:free", "-").status == 0


def test_score_of_a_runs_rollouts_needs_no_columns(call: Any, folder: Path) -> None:
    verdicts = {"old": Verdict(Score(0.0), 1.0, 0.0)}
    lines = [
        record(Rollout("p", completion, {"reference": 7}), Judgement.of(verdicts), step=3, group=0)
        for completion in ("7", "8")
    ]
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ended = call("score", "rollouts.jsonl", "--use", "./p.py:equal", "-o", "out.jsonl")
    assert ended.status == 0, ended.err
    assert rewards(folder / "out.jsonl") == [1.0, 0.0]


RIGHT = {"completion": "7", "reference": "7"}


@pytest.mark.parametrize(
    ("row", "arguments", "words"),
    [
        ({"completion": "7"}, [], r"rows\.jsonl:2: .* needs the column 'reference'"),
        (
            {**RIGHT, "completion": [{"role": "tool", "content": "7"}]},
            [],
            r"rows\.jsonl:2: completion has no turn",
        ),
        (RIGHT, ["--column", "reference=a.b"], r"rows\.jsonl:1: there is no column 'a\.b'"),
        (RIGHT, ["-o", "rows.jsonl"], r"rows\.jsonl is the input itself"),
        (RIGHT, ["-o", "out.xlsx"], r"'out\.xlsx' does not say what it holds"),
        (RIGHT, ["-o", "out.txt"], r"out\.txt is text"),
    ],
)
def test_score_with_wrong_input_names_the_place(
    call: Any, folder: Path, row: dict[str, Any], arguments: list[str], words: str
) -> None:
    before = LINES.splitlines()[0] + "\n" + json.dumps(row) + "\n"
    (folder / "rows.jsonl").write_text(before)
    ended = call("score", "rows.jsonl", "--use", "./p.py:equal", *arguments)
    assert ended.status == 2
    assert re.search(words, ended.err)
    assert ended.err.count("\n") == 1
    assert (folder / "rows.jsonl").read_text() == before
    assert not list(folder.glob("out*"))


def test_score_of_a_row_without_the_column_lists_the_rows_own_columns_and_the_option(
    call: Any, folder: Path
) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "p", "completion": "7", "answer": "7"}\n')
    for command in (["score", "rows.jsonl", "--use", "math"], ["diff", "math", "math", "rows.jsonl"]):
        ended = call(*command)
        assert ended.status == 2
        assert "needs the column 'reference', and the row has answer. " in ended.err
        assert "--column reference=answer" in ended.err


@pytest.mark.parametrize(
    ("uses", "param", "words"),
    [
        (["math"], "math.extraction", "PLUGIN.NAME=VALUE. Write math.extraction=VALUE."),
        (["math"], "extraction=boxed", "PLUGIN.NAME=VALUE. Write math.extraction=boxed."),
        (["guerdon/math"], "=boxed", "PLUGIN.NAME=VALUE. Write math.NAME=boxed."),
        (["math", "./p.py:Rare"], "rare.power=2", "./p.py:Rare. Write Rare.power=2."),
        (["match"], r"match.pattern=[A-Z]{3}-\d", r"""the shell: 'match.pattern="[A-Z]{3}-\\d"'."""),
    ],
)
def test_score_with_a_wrong_param_says_how_to_write_it(
    call: Any, folder: Path, uses: list[str], param: str, words: str
) -> None:
    (folder / "rows.jsonl").write_text(LINES)
    ended = call("score", "rows.jsonl", *(f"--use={use}" for use in uses), "--param", param)
    assert ended.status == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_value_written_as_the_message_says_is_that_text(call: Any, folder: Path) -> None:
    text = r"""[A-Z]{3}-\d"'$x"""
    (folder / "rows.jsonl").write_text(LINES)
    ended = call("score", "rows.jsonl", "--use", "match", "--param", f"match.pattern={text}")
    (argument,) = shlex.split(ended.err.rstrip(".\n").partition("the shell: ")[2])
    assert yaml_value("", argument.partition("=")[2]) == text
