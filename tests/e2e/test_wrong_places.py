"""Stages, run folders, outputs, extras and commands that cannot be used end in one line."""

from __future__ import annotations

import fcntl
import json
import re
import sys
from pathlib import Path

import pytest
from wrong_inputs import STAGE, Guerdon, only_line, stage, write


@pytest.mark.parametrize(
    ("stage", "status", "message"),
    [
        ("Breaks", 1, "StageFailedError: stage 'a' .* raised ValueError: bad luck"),
        ("ForgetsItsResult", 1, "StageFailedError: .* returned a NoneType, not a StageResult"),
        (
            "LeavesWhatIsNotThere",
            1,
            "StageFailedError: stage 'a' .* says that it left .*gone.jsonl, which is not there",
        ),
        ("Quits", 1, "StageFailedError: stage 'a' .* raised SystemExit"),
        ("HasNoKey", 1, "CheckFailedError: the preflight found 1 error"),
        ("HasNoRun", 2, "ManifestError: m.yaml:3: stage 'HasNoRun' .* has no method 'run'"),
        ("Judges", 2, "UsageError: stage 'a' .* needs 'rewards', and has none"),
        (
            "FillsTheDisk",
            3,
            "InfrastructureError: stage 'a' stopped: .*No space left on device.*run the same command again",
        ),
    ],
)
def test_stages(guerdon: Guerdon, stage: str, status: int, message: str) -> None:
    write("m.yaml", STAGE.replace("Stage}", f"{stage}}}"))
    for _ in range(2):  # a failed stage is tried again, and is never taken for a finished one
        ended = guerdon("run", "m.yaml")
        assert ended.status == status
        assert re.match(message, ended.err.splitlines()[-1]), ended.err
    assert not Path("runs/wrong/stages/a/output").exists()


@pytest.mark.parametrize("folder", ["file/run", "/proc/run", "/dev/null"])
def test_run_folders_that_cannot_be_written(guerdon: Guerdon, folder: str) -> None:
    write("file", "")
    write("m.yaml", STAGE)
    ended = guerdon("run", "m.yaml", "-o", folder)
    assert ended.status == 3
    assert only_line(ended).startswith(f"InfrastructureError: the run folder {folder} cannot be written to")


def test_a_run_folder_in_use(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    Path("run").mkdir()
    with Path("run/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = guerdon("run", "m.yaml", "-o", "run")
    assert ended.status == 2
    assert "is in use by another guerdon" in only_line(ended)


def test_a_run_folder_of_other_inputs(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    assert guerdon("run", "m.yaml").status == 0
    ended = guerdon("run", "m.yaml", "--set", "stages.a.params.steps=7")
    assert ended.status == 2
    assert "stage.params.steps was not set and is 7" in only_line(ended)
    assert guerdon("run", "m.yaml", "--set", "stages.a.params.steps=7", "--redo").status == 0


def test_a_run_folder_of_another_run(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    write("other.yaml", STAGE.replace("name: wrong", "name: other").replace("id: a", "id: b"))
    assert guerdon("run", "m.yaml").status == 0
    before = Path("runs/wrong/run.json").read_text()
    for command in ("check", "run"):
        ended = guerdon(command, "other.yaml", "-o", "runs/wrong")
        assert ended.status == 2
        assert (
            "the folder runs/wrong holds the run 'wrong', and this manifest has the name 'other'"
            in only_line(ended)
        )
    assert Path("runs/wrong/run.json").read_text() == before
    assert not Path("runs/wrong/stages/b").exists()


def test_a_run_with_a_new_name_continues_as_the_message_says(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    assert guerdon("run", "m.yaml").status == 0
    Path("runs/wrong").rename("runs/right")
    result = Path("runs/right/stages/a/result.json").stat().st_mtime_ns
    write("m.yaml", STAGE.replace("name: wrong", "name: right"))
    assert "delete runs/right/run.json" in only_line(guerdon("run", "m.yaml"))
    Path("runs/right/run.json").unlink()
    assert guerdon("check", "m.yaml").status == 0
    assert guerdon("run", "m.yaml").status == 0
    assert Path("runs/right/stages/a/result.json").stat().st_mtime_ns == result
    assert json.loads(Path("runs/right/run.json").read_text())["name"] == "right"


def test_a_run_folder_whose_files_are_broken(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    assert guerdon("run", "m.yaml").status == 0
    for content in ("{", "{}", "[]", '{"metrics": 3}'):
        write("runs/wrong/stages/a/result.json", content)
        ended = guerdon("run", "m.yaml")
        assert ended.status == 2
        assert "runs/wrong/stages/a/result.json" in only_line(ended)


def test_a_file_where_a_stage_has_its_folder(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    Path("runs/wrong/stages").mkdir(parents=True)
    write("runs/wrong/stages/a", "")
    ended = guerdon("run", "m.yaml")
    assert ended.status in (2, 3)
    assert "runs/wrong/stages/a" in only_line(ended)


def test_a_full_disk_under_the_run_folder(guerdon: Guerdon) -> None:
    write("m.yaml", STAGE)
    Path("runs/wrong").mkdir(parents=True)
    Path("runs/wrong/.run.json.partial").symlink_to("/dev/full")
    ended = guerdon("run", "m.yaml")
    assert ended.status == 3
    assert re.match(r"InfrastructureError: .*runs/wrong.*No space left on device", only_line(ended))


def test_text_that_is_not_unicode_is_scored_and_written(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "\\ud800"}\n{"completion": "b"}\n')
    assert guerdon("score", "d.jsonl", "--use", "format", "-o", "o.jsonl").status == 0
    assert [json.loads(line)["reward"] for line in Path("o.jsonl").read_text().splitlines()] == [0.0, 0.0]


def test_a_full_disk_under_the_output_of_score(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "a"}\n')
    Path(".o.jsonl.partial").symlink_to("/dev/full")
    ended = guerdon("score", "d.jsonl", "--use", "format", "-o", "o.jsonl")
    assert ended.status == 3
    assert re.match(r"InfrastructureError: .*o\.jsonl.*No space left on device", only_line(ended))
    assert not Path("o.jsonl").exists()


def test_an_output_that_cannot_be_written(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "a"}\n')
    ended = guerdon("score", "d.jsonl", "--use", "format", "-o", "d.jsonl/o.jsonl")
    assert ended.status == 2
    assert only_line(ended).startswith("UsageError: -o d.jsonl/o.jsonl: there is no folder")


@pytest.mark.parametrize(
    ("package", "arguments", "message"),
    [
        ("reasoning_gym", ["score", "d.jsonl", "--use", "reasoning_gym"], r"guerdon[reasoning-gym]"),
        ("datasets", ["check", "hub.yaml"], r"guerdon[train]"),
    ],
)
def test_a_missing_extra_is_named(
    guerdon: Guerdon, monkeypatch: pytest.MonkeyPatch, package: str, arguments: list[str], message: str
) -> None:
    blocked = Path("blocked", package)
    blocked.mkdir(parents=True)
    write(str(blocked / "__init__.py"), f"raise ModuleNotFoundError('not installed', name='{package}')")
    monkeypatch.syspath_prepend(str(blocked.parent))  # what the workers see
    monkeypatch.setitem(sys.modules, package, None)
    write("d.jsonl", '{"completion": "a", "reference": "1", "task": "t", "metadata": "{}"}\n')
    write("hub.yaml", stage("data: [{use: hub, params: {path: openai/gsm8k}}]"))
    ended = guerdon(*arguments)
    assert ended.status in (1, 3)  # a check that fails is 1, whatever it found
    assert message in ended.err


def test_commands_and_plugins_that_are_not_there(guerdon: Guerdon) -> None:
    for arguments, message in (
        (["rnu"], "there is no command 'rnu'. Did you mean 'run'?"),
        (["schema", "x"], "nexpected extra argument"),
        (["plugins", "show", "nope"], "nope"),
        (["plugins", "show", "./p.py:nope"], "nope"),
    ):
        ended = guerdon(*arguments)
        assert ended.status == 2
        assert message in ended.err
