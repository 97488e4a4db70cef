"""Wrong rows, sources and files to score end in one line, or in a typed failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from wrong_inputs import STAGE, Guerdon, only_line, stage, write

FILES: dict[str, tuple[str | bytes | None, str, str]] = {
    "broken JSON": ('{"reference": "1"}\n{"reference": tru\n', "", r"a\.jsonl:2: is not valid JSON"),
    "not UTF-8": (b'{"prompt": "\xff"}\n', "", r"a\.jsonl:1: is not UTF-8: byte 13 of the line is 0xff"),
    "empty": ("", "", r"a\.jsonl: the file has no rows"),
    "not there": (None, "", r"no file matches 'a\.jsonl'"),
    "no object": ("[1]\n", "", r"a\.jsonl:1: a row is a JSON object, not a list"),
    "missing column": ('{"prompt": "p"}\n', "", r"needs the column 'reference'"),
    "missing mapped column": (
        '{"q": "p"}\n',
        ", columns: {prompt: x}",
        r"a\.jsonl:1: there is no column 'x', only q",
    ),
}


@pytest.mark.parametrize(("content", "params", "message"), FILES.values(), ids=FILES)
def test_files_of_rows(guerdon: Guerdon, content: str | bytes | None, params: str, message: str) -> None:
    if content is not None:
        write("a.jsonl", content)
    source = f"{{use: files, params: {{path: a.jsonl{params}}}}}"
    write("m.yaml", stage(f"data: [{source}], rewards: [{{use: math}}]"))
    found, *notes, verdict = guerdon("check", "m.yaml").err.splitlines()
    assert re.match(rf"error: m.yaml:3: stage 'a', (source 'files'|reward 'math'): .*{message}", found), found
    assert all(note.startswith("note: m.yaml:3: stage 'a', rewards: not checked") for note in notes)
    assert verdict == "CheckFailedError: the preflight found 1 error in m.yaml."
    ended = guerdon("run", "m.yaml")
    assert ended.status == 1
    assert "nothing was run" in ended.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("use: ./p.py:NoRows", "has no rows"),
        ("use: ./p.py:Numbers", "Yield mappings"),
        ("use: ./p.py:RowsThatBreak, params: {error: ValueError}", "source 'RowsThatBreak'"),
        ("use: ./p.py:RowsThatBreak, params: {error: ConnectionError}", "source 'RowsThatBreak'"),
        ("use: ./p.py:RowsThatBreak, params: {error: SystemExit}", "source 'RowsThatBreak'"),
        ("use: ./p.py:Endless", "never ends. Give the data entry a 'limit'"),
        ("use: ./p.py:Rows, split: heldout, params: {n: 1}", "has no rows on the heldout side"),
        ("use: files, params: {path: a.xlsx}", "a file's name must end in"),
        ("use: reasoning_gym, params: {task: leg_countin}", "Near: leg_counting"),
    ],
)
def test_sources(guerdon: Guerdon, source: str, message: str) -> None:
    write("m.yaml", stage(f"data: [{{{source}}}]"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == (3 if "ConnectionError" in source else 1)
    assert message in ended.err.splitlines()[0]


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ("", ["--use", "format"], "DataError: d.jsonl holds no rows"),
        ("{\n", ["--use", "format"], "DataError: d.jsonl:1: is not valid JSON"),
        ("[1]\n", ["--use", "format"], "DataError: d.jsonl:1: a row is a JSON object"),
        (b"\xff\n", ["--use", "format"], "DataError: d.jsonl:1: is not UTF-8"),
        (
            '{"text": "a"}\n',
            ["--use", "format"],
            "DataError: d.jsonl:1: has no column 'completion'. Columns: text",
        ),
        ('{"completion": 3}\n', ["--use", "format"], "DataError: d.jsonl:1: completion is 3"),
        ('{"completion": [1]}\n', ["--use", "format"], "DataError: d.jsonl:1: completion is [1]"),
        ('{"completion": ' + "[" * 100_000 + "\n", ["--use", "format"], "DataError: d.jsonl:1: "),
        ('{"completion": ' + "9" * 5_000 + "}\n", ["--use", "format"], "DataError: d.jsonl:1: "),
        ('{"completion": "a"}\n', ["--use", "math"], "DataError: d.jsonl:1: verifier 'math'"),
        (
            '{"completion": "a"}\n',
            ["--use", "math", "--column", "reference=gold"],
            "there is no column 'gold'",
        ),
        ('{"completion": "a"}\n', [], "UsageError: say what to score with"),
        (
            '{"completion": "a"}\n',
            ["--use", "format", "--use", "format"],
            "adds a second 'format'. Use it once",
        ),
        ('{"completion": "a"}\n', ["--use", "format", "--param", "format.tag=1"], "Did you mean 'tags'?"),
        (
            '{"completion": "a"}\n',
            ["--use", "format", "--param", "tags=1"],
            "is not of the form PLUGIN.NAME=VALUE",
        ),
        (
            '{"completion": "a"}\n',
            ["--use", "format", "--param", "math.units=x"],
            "names no plugin that is used",
        ),
        ('{"completion": "a"}\n', ["-m", "m.yaml"], "UsageError: m.yaml has rewards in the stages none"),
    ],
)
def test_what_is_scored(guerdon: Guerdon, data: str | bytes, arguments: list[str], message: str) -> None:
    write("m.yaml", STAGE)
    write("d.jsonl", data)
    ended = guerdon("score", "d.jsonl", *arguments)
    assert ended.status == 2
    assert message in only_line(ended)


def test_a_reference_of_the_wrong_type_is_not_a_wrong_answer(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "\\\\boxed{1}", "reference": {"a": 1}}\n')
    ended = guerdon("score", "d.jsonl", "--use", "math")
    assert ended.status == 1
    assert "'math' failed on every row, the last time: reference: " in only_line(ended)


def test_references_of_the_wrong_type_stop_a_run(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"prompt": "?", "reference": {"a": 1}}\n')
    write("m.yaml", stage("data: [{use: files, params: {path: d.jsonl}}], rewards: [{use: math}]"))
    for command in ("check", "run"):
        ended = guerdon(command, "m.yaml")
        assert ended.status == 1
        assert "reward 'math'" in ended.err
        assert "the reference is {'a': 1} of type dict" in ended.err


def test_data_that_is_not_there(guerdon: Guerdon) -> None:
    for path, reason in (("gone.jsonl", "No such file or directory"), (".", "Is a directory")):
        ended = guerdon("score", path, "--use", "format")
        assert ended.status == 2
        assert only_line(ended) == f"DataError: {path} cannot be read: {reason}."
