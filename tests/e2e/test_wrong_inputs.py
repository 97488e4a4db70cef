"""Wrong inputs of every kind: each ends in its one-line error with the right exit status, or in its typed failure.

Exit status: 1 a check failed, 2 the user's mistake, 3 something outside is missing or down. Nothing ends in a
traceback, and what plugins print goes nowhere.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[1] / "fixtures" / "wrong_plugins.py"

MODEL = "name: wrong\nmodel: model\n"
STAGE = MODEL + "stages: [{id: a, use: ./p.py:Stage}]\n"


Guerdon = Callable[..., Any]


@pytest.fixture
def guerdon(call: Guerdon, tmp_path: Path) -> Guerdon:
    """The command line, in a folder with the wrong plugins."""
    shutil.copy(PLUGINS, tmp_path / "p.py")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return call


def only_line(ended: Any) -> str:
    """The one line that an error is."""
    assert ended.err.count("\n") == 1, ended.err
    line: str = ended.err.rstrip("\n")
    return line


def write(name: str, content: str | bytes) -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def stage(keys: str) -> str:
    """A manifest whose one stage, on line 3, has some more keys."""
    return STAGE.replace("}", f", {keys}}}")


def stages(*entries: str) -> str:
    """A manifest with one stage a line, from line 4 on."""
    return MODEL + "stages:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)

MANIFESTS: dict[str, tuple[str | bytes, str]] = {
    "unclosed bracket": ("name: x\nstages: [\n", r":3: is not valid YAML"),
    "tab": ("name: x\n\tseed: 1\n", r":2: is not valid YAML: found character '\\t'"),
    "key twice": ("name: x\nname: y\n", r':2: is not valid YAML: found duplicate key "name"'),
    "not UTF-8": (b"name: \xff\n", r":1: is not UTF-8 text"),
    "empty": ("", r":1: a manifest is a mapping"),
    "NUL": ("name: a\0b\n", r": is not valid YAML"),
    "nested too deeply": ("name: " + "[" * 500, r": is nested too deeply"),
    "alias bomb": (ALIAS_BOMB, r": has more than 100000 keys and items"),
    "a list": ("- a\n", r":1: a manifest is a mapping"),
    "no stages": (MODEL, r":1: 'stages' is missing"),
    "empty stages": (MODEL + "stages: []\n", r":3: 'stages' is \[\]"),
    "unknown key": (STAGE + "sed: 1\n", r":4: unknown key 'sed'.* Did you mean 'seed'\?"),
    "wrong type": (STAGE + "seed: many\n", r":4: 'seed' is 'many'"),
    "id with a path": (stages("id: ../a, use: ./p.py:Stage"), r":4: .*id' is '\.\./a'"),
    "one id twice": (
        stages("id: a, use: ./p.py:Stage", "id: a, use: ./p.py:Stage"),
        r":5: another stage has the id 'a'",
    ),
    "unknown stage": (stages("id: a, use: gropo"), r":4: no stage is named 'gropo'.*Did you mean 'grpo'\?"),
    "plugin of another kind": (stages("id: a, use: math"), r":4: no stage is named 'math'"),
    "no such file": (stages("id: a, use: ./q.py:Stage"), r":4: .*the file .*q\.py, which does not exist"),
    "broken plugin": (
        stages("id: a, use: ./p.py:Stag"),
        r":4: .*p\.py defines no 'Stag'\. Did you mean 'Stage'\?",
    ),
    "unknown param": (stage("params: {step: 1}"), r":3: unknown param 'step' of .* Did you mean 'steps'\?"),
    "ill-typed param": (stage("params: {steps: many}"), r":3: param 'steps' .* is 'many'"),
    "missing param": (stage("data: [{use: files}]"), r":3: source 'files' .* needs the param 'path'"),
    "cyclic graph": (
        stages("id: a, use: ./p.py:Stage, init: 'stage:b'", "id: b, use: ./p.py:Stage, init: 'stage:a'"),
        r":4: stages wait for each other in a circle: a -> b -> a",
    ),
    "stage from itself": (stage("init: 'stage:a'"), r":3: stages wait for each other in a circle: a -> a"),
    "stage from no stage": (stage("init: 'stage:b'"), r":3: there is no stage 'b'"),
    "stage as a path": (stage("init: a"), r":3: .*For the stage write 'stage:a'"),
    "data of no stage": (stage("data: [{use: stage, params: {id: b}}]"), r":3: there is no stage 'b'"),
    "no base model": (
        STAGE.replace("model: model\n", ""),
        r":2: init is 'base', and the manifest has no 'model'",
    ),
    "one reward twice": (
        stage("rewards: [{use: format}, {use: format}]"),
        r":3: another reward is named 'format'",
    ),
    "unknown verifier": (
        stage("rewards: [{use: formt}]"),
        r":3: no verifier .*'formt'. Did you mean 'format'\?",
    ),
    "endless timeout": (stage("rewards: [{use: format, timeout: .inf}]"), r":3: .*timeout' is inf"),
    "negative timeout": (stage("rewards: [{use: format, timeout: -1}]"), r":3: .*timeout' is -1"),
}


@pytest.mark.parametrize(("manifest", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests(guerdon: Guerdon, manifest: str | bytes, message: str) -> None:
    write("m.yaml", manifest)
    for command in ("check", "run"):
        ended = guerdon(command, "m.yaml")
        assert ended.status == 2
        assert re.match(rf"ManifestError: m\.yaml{message}", only_line(ended)), ended.err
    assert not Path("runs").exists()


def test_all_mistakes_of_a_manifest_are_told_at_once(guerdon: Guerdon) -> None:
    write(
        "m.yaml",
        MODEL + "stages:\n  - {id: a, use: gropo}\n  - {id: b, use: ./p.py:Stage, params: {step: 1}}\n",
    )
    ended = guerdon("check", "m.yaml")
    assert ended.status == 2
    assert re.match(
        r"ManifestError: m\.yaml:4: .*'gropo'.*\nm\.yaml:5: unknown param 'step' of .*\n$", ended.err
    )


@pytest.mark.parametrize(
    ("target", "override", "message"),
    [
        ("gone.yaml", "", "ManifestError: gone.yaml: cannot be read: No such file"),
        (".", "", "ManifestError: .: cannot be read: Is a directory"),
        ("r2-zero", "", "ManifestError: there is no file 'r2-zero', and no recipe is named 'r2-zero'"),
        ("./p.py:Stage", "", "ManifestError: './p.py:Stage' is neither a manifest nor a recipe"),
        ("no_such_package:x", "", "ManifestError: 'no_such_package:x' is neither a manifest nor a recipe"),
        ("m.yaml", "seed", "ManifestError: --set seed: is not of the form path=value"),
        ("m.yaml", "stages.b.id=c", "ManifestError: --set stages.b.id=c: stages has no item 'b'"),
        ("m.yaml", "seed=[", "ManifestError: --set seed=[: the value is not valid YAML"),
        ("m.yaml", "sed=1", "ManifestError: --set sed=1: unknown key 'sed'"),
    ],
)
def test_targets_and_overrides(guerdon: Guerdon, target: str, override: str, message: str) -> None:
    write("m.yaml", STAGE)
    ended = guerdon("check", target, *(["--set", override] if override else []))
    assert ended.status == 2
    assert only_line(ended).startswith(message)


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
    ("rewards", "message"),
    [
        (
            "{use: format, when: {task: code}}",
            "its 'when' asks for the column 'task', which no sampled row has",
        ),
        ("{use: format, when: {reference: y}}", "its 'when' matches none of 2 sampled rows"),
        ("{use: format, params: {tags: []}}", "refuses its params: tags is []"),
        ("{use: ./p.py:gives_up}", "it failed on every one of"),
    ],
)
def test_rubrics(guerdon: Guerdon, rewards: str, message: str) -> None:
    write("m.yaml", stage(f"data: [{{use: ./p.py:Rows}}], rewards: [{rewards}]"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == 1
    assert message in ended.err


BROKEN_VERIFIERS = {
    "raises": ("verifier", "IndexError: list index out of range"),
    "speechless": ("verifier", "MuteError: <MuteError whose text cannot be made: RuntimeError>"),
    "returns_nan": ("verifier", "returned nan, which is not a finite number"),
    "returns_infinity": ("verifier", "returned inf, which is not a finite number"),
    "returns_text": ("verifier", "returned 'yes' of type str"),
    "returns_what_is_no_json": (
        "verifier",
        "ValueError: a Score's metadata cannot be JSON: keys must be str",
    ),
    "sleeps_forever": ("timeout", "no verdict within 0.5 s"),
    "never_yields": ("timeout", "no verdict within 0.5 s"),
    "waits_forever": ("timeout", "no verdict within 0.5 s"),
    "swallows_interrupts": ("timeout", "no verdict within 0.5 s"),
    "segfaults": ("verifier", "the worker process was killed by SIGSEGV"),
    "exits": ("verifier", "SystemExit: bye"),
    "exits_at_once": ("verifier", "the worker process ended with exit status 7"),
    "kills_itself": ("verifier", "the worker process was killed by SIGKILL"),
    "recurses": ("verifier", "RecursionError"),
    "takes_all_memory": ("verifier", "MemoryError"),
    "reads_input": ("verifier", "EOFError"),
    "has_no_network": ("infrastructure", "ConnectionRefusedError: nobody there"),
}


def test_verifiers_that_break_on_one_completion(guerdon: Guerdon) -> None:
    rewards = ", ".join(f"{{use: ./p.py:{verifier}, timeout: 0.5}}" for verifier in BROKEN_VERIFIERS)
    write("m.yaml", stage(f"rewards: [{rewards}]"))
    rows = [{"prompt": "?", "completion": completion} for completion in ("good", "bad", "fine")]
    write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert guerdon("score", "d.jsonl", "-m", "m.yaml", "-o", "o.jsonl").status == 0
    scored = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in scored] == ["good", "bad", "fine"]
    for verifier, (failure, explanation) in BROKEN_VERIFIERS.items():
        good, bad, fine = (row["scores"][verifier] for row in scored)
        assert (good["value"], bad["value"], fine["value"]) == (1.0, None, 1.0), verifier
        assert (bad["outcome"], bad["failure"]) == ("failed", failure), verifier
        assert explanation in bad["explanation"]
    assert [row["reward"] for row in scored] == [
        float(len(BROKEN_VERIFIERS)),
        None,
        float(len(BROKEN_VERIFIERS)),
    ]


def test_forks_of_a_verifier_judge_no_completion(guerdon: Guerdon) -> None:
    write("f.py", "import os\ndef fork(completion): return float(completion) if os.fork() else -1.0\n")
    write("d.jsonl", "".join(json.dumps({"prompt": "?", "completion": str(n)}) + "\n" for n in range(20)))
    assert guerdon("score", "d.jsonl", "--use", "./f.py:fork", "-o", "o.jsonl").status == 0
    scored = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [row["reward"] for row in scored] == [float(n) for n in range(20)]


def test_what_a_verifier_prints_goes_nowhere(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "bad"}\n')
    ended = guerdon("score", "d.jsonl", "--use", "./p.py:prints_a_gigabyte")
    assert ended.status == 0
    assert len(ended.out + ended.err) < 10_000


@pytest.mark.parametrize(
    ("reward", "explanation"),
    [
        ("gives_too_few", "returned 1 rewards for 2 completions"),
        ("gives_too_many", "returned 3 rewards for 2 completions"),
        ("gives_nothing", "returned a NoneType"),
        ("gives_text", "returned a str"),
        ("gives_nan", "returned nan"),
        ("gives_an_error", "KeyError: 'missing'"),
    ],
)
def test_rewards_that_break(guerdon: Guerdon, reward: str, explanation: str) -> None:
    write("d.jsonl", '{"completion": "a"}\n{"completion": "b"}\n')
    ended = guerdon("score", "d.jsonl", "--use", f"./p.py:{reward}")
    assert ended.status == 1
    assert (
        f"CheckFailedError: '{reward}' failed on every row, the last time: verifier: {explanation}"
        in only_line(ended)
    )


def test_a_dead_service_behind_every_verdict_is_infrastructure(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "bad"}\n')
    ended = guerdon("score", "d.jsonl", "--use", "./p.py:has_no_network")
    assert ended.status == 3
    assert only_line(ended).startswith("InfrastructureError: 'has_no_network' failed on every row")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("mth", "PluginNotFoundError: no verifier or reward is named 'mth'. Did you mean 'math'?"),
        (
            "grpo",
            "PluginNotFoundError: no verifier or reward is named 'grpo', which is stage 'grpo' (guerdon 0.1.0)",
        ),
        ("./q.py:f", "PluginNotFoundError: './q.py:f' names the file"),
        ("./p.py:f", "p.py defines no 'f'"),
        ("./raises.py:f", "RuntimeError: broken module"),
        ("./syntax.py:f", "SyntaxError"),
        ("./quits.py:f", "SystemExit: 4"),
        ("no_such_package:f", "No module named 'no_such_package'"),
        ("./p.py:neither", "PluginContractError: plugin 'neither'"),
        ("./p.py:number", "PluginContractError: plugin 'number'"),
        ("./p.py:NeedsAKey", "cannot be built: RuntimeError: no key in the environment"),
        ("./p.py:EndsTheProcess", "cannot be built: the worker process ended with exit status 3"),
    ],
)
def test_plugins_that_do_not_load(guerdon: Guerdon, use: str, message: str) -> None:
    write("raises.py", "raise RuntimeError('broken module')")
    write("syntax.py", "def f(:")
    write("quits.py", "import sys; sys.exit(4)")
    write("d.jsonl", '{"completion": "a"}\n')
    ended = guerdon("score", "d.jsonl", "--use", use)
    assert ended.status == 2
    assert message in only_line(ended)


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


def test_a_reference_of_the_wrong_type_is_no_wrong_answer(guerdon: Guerdon) -> None:
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
    assert "stage.params.steps was None and is 7" in only_line(ended)
    assert guerdon("run", "m.yaml", "--set", "stages.a.params.steps=7", "--redo").status == 0


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


def test_text_that_is_no_unicode_is_scored_and_written(guerdon: Guerdon) -> None:
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
