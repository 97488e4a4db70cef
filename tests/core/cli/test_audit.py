"""``guerdon audit``: its report, its exit status, and what a stranger mistypes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PLUGINS = '''
import re

def exact(completion, reference):
    """Sound."""
    return re.findall(r"\\\\boxed{([^{}]*)}", completion) == [reference]

class Loose:
    """Gameable, and says what it is."""
    audit_kind = "answer"
    def __call__(self, completion, reference):
        return reference in completion

class Odd:
    audit_kind = "poetry"
    def __call__(self, completion):
        return 1.0

def schema(completion):
    return completion.startswith("{")

def constant(completion, reference):
    return 1.0

def down(completion, reference):
    raise ConnectionRefusedError("nobody there")

def columns(completion, reference, subject):
    return 1.0

class Stage:
    def run(self, context): ...
'''

MANIFEST = """
name: x
stages:
  - id: a
    use: ./p.py:Stage
    init: none
    data: [{{use: files, params: {{path: rows.jsonl}}}}]
    rewards: [{rewards}]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.py").write_text(PLUGINS)
    rows = [{"prompt": f"{n} + 1?", "reference": str(n + 1)} for n in range(10, 20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_sound_verifier(call: Any) -> None:
    ended = call("audit", "./p.py:exact")
    assert (ended.status, ended.err) == (0, "")
    assert "exact: kinds unknown; answers as" in ended.out
    assert "either-or" in ended.out


def test_an_exploit_ends_with_1_and_is_explained(call: Any) -> None:
    ended = call("audit", "./p.py:Loose")
    assert ended.status == 1
    assert ended.err.startswith("CheckFailedError: ")
    assert "exploits in" in ended.err
    assert "exploit: either-or (number). A list of guesses that holds the right one" in ended.out
    assert "paid by: Loose 1.0" in ended.out


def test_json_has_every_case_with_its_why(call: Any) -> None:
    ended = call("audit", "./p.py:Loose", "--json")
    assert ended.status == 1
    report = json.loads(ended.out)["Loose"]
    assert report["kinds"] == ["answer"]
    assert not report["passed"]
    assert all(case["why"] and case["verdict"] for case in report["cases"])
    assert {"empty", "honest-right", "honest-wrong"} < {case["case"] for case in report["cases"]}


def test_a_manifest_is_audited_on_its_own_rows_and_as_a_whole(call: Any, folder: Path) -> None:
    loose = "{use: './p.py:Loose', weight: %s}"
    for weight, status in (("0.05", 0), ("1.0", 1)):
        (folder / "m.yaml").write_text(MANIFEST.format(rewards="{use: './p.py:exact'}, " + loose % weight))
        ended = call("audit", "m.yaml", "--rows", "2", "--json")
        assert ended.status == status, ended.err
    cases = json.loads(ended.out)["a"]["cases"]
    assert {case["problem"] for case in cases} == {"row 1", "row 2"}
    exploit = next(case for case in cases if case["case"] == "either-or")
    assert exploit["completion"].endswith("\\boxed{12 or 11}</answer>")
    assert exploit["parts"] == {"exact": 0.0, "Loose": 1.0}


def test_rows_without_answers_give_way_to_the_corpus_own_problems(call: Any, folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "Hello?", "language": "en"}\n')
    (folder / "m.yaml").write_text(MANIFEST.format(rewards="{use: format}, {use: language, weight: 0.2}"))
    ended = call("audit", "m.yaml")
    assert ended.status == 0, ended.out
    assert "kinds language, format" in ended.out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["maht"], 2, "Did you mean 'math'?"),
        (["nowhere.yaml"], 2, "nowhere.yaml"),
        (["./p.py:Odd"], 2, "has the audit_kind 'poetry'. Kinds: math, code"),
        (["./p.py:constant"], 1, "nothing tells them apart"),
        (["./p.py:schema"], 1, "no honest answer is paid"),
        (["./p.py:schema", "--cases", "none.jsonl"], 2, "none.jsonl cannot be read: No such file"),
        (["./p.py:schema", "--cases", "rows.jsonl"], 2, "rows.jsonl:1: 'right' is None"),
        (["./p.py:down"], 3, "'down' cannot judge: ConnectionRefusedError"),
        (["./p.py:columns"], 2, "needs the column 'subject'"),
        (["./p.py:exact", "--stage", "a"], 2, "--stage names a stage of a manifest"),
        (["./p.py:exact", "--param", "exact.x=1"], 2, "unknown param 'x'"),
        (["./p.py:exact", "--param", "math.x=1"], 2, "names no plugin that is used"),
        (["m.yaml", "--param", "exact.x=1"], 2, "a manifest has its own"),
        (["m.yaml", "--stage", "b"], 2, "m.yaml has rewards in the stages a. There is none in 'b'."),
    ],
)
def test_wrong_input(call: Any, folder: Path, arguments: list[str], status: int, words: str) -> None:
    (folder / "m.yaml").write_text(MANIFEST.format(rewards="{use: './p.py:exact'}"))
    ended = call("audit", *arguments)
    assert ended.status == status, ended.err
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_audit_with_own_cases_passes_where_the_corpus_has_none(call: Any, folder: Path) -> None:
    (folder / "own.csv").write_text('prompt,right,wrong\nGive JSON.,"{""a"": 1}",none\n')
    ended = call("audit", "./p.py:schema", "--cases", "own.csv")
    assert (ended.status, ended.err) == (0, ""), ended.err
    assert "own.csv" not in ended.err
    ended = call("audit", "./p.py:Loose", "--cases", "own.csv")
    assert ended.status == 2
    assert "own.csv:2: " in ended.err


def test_audit_with_own_cases_that_earn_the_same_names_the_file(call: Any, folder: Path) -> None:
    (folder / "own.csv").write_text("prompt,right,wrong\nGive JSON.,one,none\n")
    ended = call("audit", "./p.py:schema", "--cases", "own.csv")
    assert ended.status == 1
    assert "Correct the 'right' and the 'wrong' answers of --cases" in ended.err
