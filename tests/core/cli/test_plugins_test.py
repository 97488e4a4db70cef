"""``guerdon plugins test``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guerdon.cli.plugins_test import test as command
from guerdon.errors import CheckFailedError, DataError, ParamsError, PluginNotFoundError, UsageError

EXACT = '''
from guerdon import Failure, Score

class Exact:
    def __init__(self, strip: bool = False):
        self._strip = strip
    def __call__(self, completion, reference):
        if not reference:
            return Score.failed(Failure.REFERENCE, "empty")
        return Score(float((completion.strip() if self._strip else completion) == reference))

class Numbers:
    def __iter__(self):
        for number in range(40):
            yield {"prompt": str(number)}

class Repeat:
    needs = ("data",)
    def run(self, context):
        from guerdon import StageResult
        path = context.output / "rows.jsonl"
        path.write_text("".join(f'{{"prompt": "{row["prompt"]}"}}\\n' for row in context.rows()))
        return StageResult(dataset=path)

class Broken:
    def run(self, context):
        for row in context.rows: pass

class Counter:
    def reset(self): self.value = 0
    def add(self, number: int) -> str:
        """Add.

        Args:
            number: The number.
        """
        self.value += number
        return str(self.value)

class Copy:
    def run(self, context):
        from guerdon import StageResult
        return StageResult(metrics={"rows": len(list(context.rows()))})
'''


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(EXACT)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def write(name: str, *rows: Any) -> str:
    Path(name).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return name


def test_a_table_of_all_checks_and_the_reasons_of_those_that_failed() -> None:
    cases = write(
        "cases.jsonl",
        {"completion": " 4", "reference": "4", "expected": 1},
        {"completion": "4", "reference": "", "expected": "reference"},
        {"completion": "5", "reference": "4", "at_most": 0},
    )
    done = run("./mine.py:Exact", "--cases", cases)
    assert isinstance(done.exception, CheckFailedError)
    assert str(done.exception) == "1 of 16 checks failed: golden cases."
    assert "failed: golden cases: ' 4' gets 0; expected 1." in done.output
    assert "verdicts/s in one process" in done.output
    assert run("./mine.py:Exact", "--cases", cases, "-p", "strip=true").exit_code == 0


def test_a_source_and_a_stage_are_known_by_their_shape() -> None:
    assert "independent iterations" in run("./mine.py:Numbers").output
    done = run("./mine.py:Copy", "--cases", write("rows.jsonl", {"prompt": "a"}))
    assert done.exit_code == 0
    assert "writes nowhere else" in done.output


def test_stage_without_rows_is_told_to_give_some() -> None:
    done = run("./mine.py:Repeat")
    assert done.exit_code == 0
    assert (
        "skipped: dataset: its data set has no rows, because none were given: give rows, as the kit's"
        in done.output
    )
    assert run("./mine.py:Repeat", "--cases", write("rows.jsonl", {"prompt": "a"})).exit_code == 0


def test_stage_that_raises_is_told_the_line() -> None:
    line = EXACT.splitlines().index("        for row in context.rows: pass") + 1
    done = run("./mine.py:Broken")
    assert f"failed: result: TypeError: 'method' object is not iterable (mine.py:{line})" in done.output


def test_environment_without_an_episode_is_not_called_tried() -> None:
    done = run("./mine.py:Counter")
    assert done.exit_code == 0
    assert "skipped: episode: reset() works, and no call was tried: give the kit's 'episode'" in done.output


def test_an_installed_plugin_and_one_whose_kind_must_be_said() -> None:
    assert "hears a run" in run("progress").output
    assert (
        run("reasoning_gym", "--kind", "source", "-p", "task=basic_arithmetic", "-p", "size=40").exit_code
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["formt"], PluginNotFoundError, "no plugin is named 'formt'. Did you mean 'format'?"),
        (["format", "-p", "tag=[a]"], ParamsError, "unknown param 'tag' of verifier 'format'"),
        (["format", "-p", "tags"], UsageError, "--param tags is not of the form NAME=VALUE"),
        (["format", "-p", "tags=[a"], UsageError, "--param tags=.a: the value is not valid YAML"),
        (["format", "--cases", "none.jsonl"], DataError, "none.jsonl cannot be read"),
        (
            ["progress", "--cases", "none.jsonl"],
            UsageError,
            "only a verifier, a reward, a stage and an environment",
        ),
    ],
)
def test_mistakes(arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"completion": "a"}, "cases.jsonl:1: a case has 'completion' and either 'expected'"),
        ({"completion": "a", "expected": 1, "at_most": 0}, "cases.jsonl:1: a case has"),
        ({"completion": "a", "expected": "right"}, "expected is 'right'. Give a number, null, or a failure"),
        ({"completion": "a", "at_most": "little"}, "at_most is 'little'. Give a number"),
        ("{", "cases.jsonl:1: is not valid JSON"),
        ("[1]", "cases.jsonl:1: a row is a JSON object"),
    ],
)
def test_rows_that_are_not_cases(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CliRunner().invoke(
            command, ["./mine.py:Exact", "--cases", write("cases.jsonl", row)], catch_exceptions=False
        )


DOOR = """
class Door:
    def reset(self, door):
        self.door = door
        return f"The door {door} is closed."
    def open_door(self) -> str:
        \"\"\"Open the door.\"\"\"
        return self.door
"""


def test_environment_whose_reset_needs_a_column_is_skipped_until_it_gets_a_row() -> None:
    Path("door.py").write_text(DOOR)
    done = run("./door.py:Door")
    assert done.exit_code == 0, done.output
    assert done.output.count("reset() needs the columns 'door': give a row that has them") == 5
    done = run("./door.py:Door", "--cases", write("row.jsonl", {"door": "red"}))
    assert done.exit_code == 0, done.output
    assert "reset() needs" not in done.output
    assert done.output.count("skipped:") == 4
    assert "skipped: episode: reset() works, and no call was tried" in done.output


def test_environment_that_takes_any_columns_and_fails_without_a_row_is_skipped_until_it_gets_one() -> None:
    Path("door.py").write_text(
        DOOR.replace("self, door", "self, **row").replace(
            "self.door = door", "door = self.door = row['door']"
        )
    )
    done = run("./door.py:Door")
    assert done.exit_code == 0, done.output
    assert done.output.count("'door': give a row that has them") == 5
    done = run("./door.py:Door", "--cases", write("row.jsonl", {"door": "red"}))
    assert done.exit_code == 0, done.output
    assert done.output.count("skipped: ") == 4  # the checks of an episode, for lack of calls
    Path("door.py").write_text(DOOR.replace("self, door", "self").replace("self.door = door", "1 / 0"))
    done = run("./door.py:Door")
    assert done.exit_code == 1, done.output


def test_environment_with_several_rows_is_refused() -> None:
    Path("door.py").write_text(DOOR)
    done = run("./door.py:Door", "--cases", write("rows.jsonl", {"door": "red"}, {"door": "blue"}))
    assert isinstance(done.exception, UsageError)
    assert "it has 2 rows. Give one" in str(done.exception)
