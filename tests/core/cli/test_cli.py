"""The command line as a user meets it: in a process of its own, in an empty folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from warm_python import WarmPython

from guerdon.cli.main import cli

MODULE = '''
from guerdon import Score, StageResult
def equals(completion, reference):
    return Score(float(completion == reference), answer=completion, explanation="compared")
def sometimes(completion): return None if completion == "skip" else 1 / len(completion)
def down(completion): raise ConnectionRefusedError("nobody there")
def bug(completion): raise KeyError("x")
class Stage:
    """Does nothing.

    Args:
        steps: How many steps
            it does not do.
    """
    def __init__(self, steps: int, rate: float = 0.5): ...
    def run(self, context): return StageResult(metrics={"accuracy": 0.5, "tables": {"evaluation": [{"model": "a"}]}})
class Rows:
    def __iter__(self): return iter([{"prompt": "p", "reference": "1"}])
'''


Guerdon = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def guerdon(warm_guerdon: WarmPython, folder: Path) -> Guerdon:
    """Runs a command in the folder."""
    return partial(warm_guerdon.run, "-m", "guerdon", cwd=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    return tmp_path


def test_help_is_quick_and_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['guerdon', '--help']\n"
        "from guerdon.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'trl', 'guerdon_plugins', 'sympy', 'pydantic'}\n"
        "print(sorted({module.partition('.')[0] for module in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
    for command in ("run", "check", "score", "plugins", "schema", "doctor", "sandbox"):
        assert command in done.stdout


def test_plugins_are_listed_from_metadata(guerdon: Guerdon) -> None:
    listed = guerdon("plugins")
    assert listed.returncode == 0
    assert "guerdon_plugins.verifiers.math:MathVerifier" in listed.stdout
    rows = json.loads(guerdon("plugins", "--json", "--kind", "stage").stdout)
    assert {row["name"] for row in rows} >= {"evaluate", "grpo", "pretrain", "reward_model", "sft"}
    assert set(rows[0]) == {"kind", "name", "distribution", "version", "target", "status"}


def test_plugins_show_documents_params(guerdon: Guerdon) -> None:
    shown = guerdon("plugins", "show", "./m.py:Stage")
    assert shown.returncode == 0, shown.stderr
    for words in ("Does nothing.", "steps", "int", "required", "How many steps it does not do.", "0.5"):
        assert words in shown.stdout
    described = json.loads(guerdon("plugins", "show", "math", "--json").stdout)
    assert described["distribution"] == "guerdon"
    assert all(param["type"] and param["doc"] for param in described["params"])


def test_an_unknown_command_and_plugin(guerdon: Guerdon) -> None:
    command = guerdon("runn")
    assert command.returncode == 2
    assert "there is no command 'runn'. Did you mean 'run'?" in command.stderr
    unknown = guerdon("plugins", "show", "mth")
    assert unknown.returncode == 2
    assert "Did you mean 'math'?" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_the_schema_describes_every_field(guerdon: Guerdon) -> None:
    schema = json.loads(guerdon("schema").stdout)
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), name


def test_doctor_names_what_is_missing(guerdon: Guerdon) -> None:
    report = guerdon("doctor")
    assert report.returncode == 0
    for what in ("Python", "torch", "GPU", "Docker engine"):
        assert what in report.stdout


def test_doctor_fix_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets are markup to the library that prints the table."""

    monkeypatch.setattr("guerdon.cli.doctor._version", lambda distribution: None)
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(cli, ["doctor"]).output
    extras = set(metadata.metadata("guerdon").get_all("Provides-Extra") or []) - {"dev", "benchmarks"}
    assert {"train", "json-schema", "ray"} < extras
    for extra in extras:
        assert f"pip install 'guerdon[{extra}]'" in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("guerdon sc", {"score", "schema"}),
        ("guerdon run r1-m", {"r1-mini"}),
        ("guerdon score rollouts.jsonl --use mat", {"match", "math"}),
        ("guerdon plugins show r1-z", {"r1-zero", "r1-zero-mini", "r1-zero-smollm2"}),
    ],
)
def test_shell_completion_offers_commands_plugins_and_recipes(
    warm_guerdon: WarmPython, folder: Path, words: str, expected: set[str]
) -> None:
    completion = {
        "_GUERDON_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    script = "from guerdon.cli.main import main; import sys; sys.argv = ['guerdon']; main()"
    done = warm_guerdon.run("-c", script, cwd=folder, env=completion)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected


def test_check_and_run(guerdon: Guerdon, folder: Path) -> None:
    (folder / "m.yaml").write_text(
        "name: x\nstages:\n  - {id: a, use: './m.py:Stage', init: none, params: {steps: 1}}\n"
    )
    checked = guerdon("check", "m.yaml")
    assert (checked.returncode, checked.stdout) == (0, "m.yaml: fit to run. Stages in order: a.\n")
    done = guerdon("run", "m.yaml")
    assert done.returncode == 0
    assert "accuracy 0.500" in done.stdout
    assert "evaluation" in done.stdout
    assert (folder / "runs/x/stages/a/result.json").exists()


def test_errors_are_one_line_and_have_their_status(guerdon: Guerdon, folder: Path) -> None:
    (folder / "bad.yaml").write_text("name: x\nstages:\n  - {id: a, use: './m.py:Stage', init: none}\n")
    bad = guerdon("check", "bad.yaml")
    assert bad.returncode == 2
    assert bad.stderr.startswith("ManifestError: bad.yaml:3: stage 'Stage'")
    assert "needs the param 'steps'" in bad.stderr
    assert guerdon("run", "no-such-recipe").returncode == 2


ROWS = [
    {"prompt": "p", "completion": "1", "answer": "1", "id": 7},
    {"prompt": "p", "completion": [{"role": "assistant", "content": "no"}], "answer": "1", "id": 8},
    {"prompt": "p", "completion": "skip", "answer": "skip", "id": 9},
]


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder


def test_score_writes_one_line_a_row_in_order(guerdon: Guerdon, data: Path) -> None:
    done = guerdon(
        *("score", "data.jsonl", "--use", "./m.py:equals", "--use", "./m.py:sometimes"),
        *("--column", "reference=answer", "-o", "out.jsonl"),
    )
    assert done.returncode == 0, done.stderr
    assert "equals" in done.stdout
    lines = [json.loads(line) for line in (data / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [7, 8, 9]
    assert [line["reward"] for line in lines] == [2.0, 0.5, 1.0]
    first = lines[0]["scores"]["equals"]
    score = {"value", "outcome", "failure", "answer", "explanation"}
    assert set(first) == score | {"weight", "weighted", "counted", "latency_ms"}
    assert (first["value"], first["answer"], first["explanation"]) == (1.0, "1", "compared")
    assert lines[2]["scores"]["sometimes"]["outcome"] == "skipped"


def test_score_with_a_manifest(guerdon: Guerdon, data: Path) -> None:
    (data / "m.yaml").write_text(
        "name: x\nstages:\n  - id: a\n    use: ./m.py:Stage\n    init: none\n    params: {steps: 1}\n"
        "    rewards: [{use: './m.py:equals', weight: 3}]\n"
    )
    done = guerdon("score", "data.jsonl", "-m", "m.yaml", "--column", "reference=answer", "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads((data / "out.jsonl").read_text().splitlines()[0])["reward"] == 3.0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["data.jsonl"], 2, "say what to score with"),
        (["data.jsonl", "--use", "nothing"], 2, "no verifier or reward is named 'nothing'"),
        (["nowhere.jsonl", "--use", "./m.py:equals"], 2, "cannot be read: No such file"),
        (["data.jsonl", "--use", "./m.py:equals"], 2, "needs the column 'reference'"),
        (
            ["data.jsonl", "--use", "./m.py:equals", "--column", "reference=gold"],
            2,
            "data.jsonl:1: there is no column 'gold'",
        ),
        (
            ["data.jsonl", "--use", "./m.py:equals", "--column", "reference"],
            2,
            "is not of the form NAME=COLUMN",
        ),
        (["data.jsonl", "--use", "./m.py:equals", "--param", "other.x=1"], 2, "names no plugin that is used"),
        (["data.jsonl", "--use", "./m.py:equals", "--param", "equals.x=1"], 2, "unknown param 'x'"),
        (["broken.jsonl", "--use", "./m.py:sometimes"], 2, "broken.jsonl:2: is not valid JSON"),
        (["latin.jsonl", "--use", "./m.py:sometimes"], 2, "is not UTF-8"),
        (["empty.jsonl", "--use", "./m.py:sometimes"], 2, "holds no rows"),
        (["list.jsonl", "--use", "./m.py:sometimes"], 2, "list.jsonl:1: a row is a JSON object"),
        (["data.jsonl", "--use", "./m.py:down"], 3, "'down' failed on every row"),
        (["data.jsonl", "--use", "./m.py:bug"], 1, "'bug' failed on every row"),
        (
            ["data.jsonl", "--use", "./m.py:sometimes", "-o", "no/folder/out.jsonl"],
            2,
            "there is no folder 'no/folder'",
        ),
        (["data.jsonl", "--use", "./m.py:sometimes", "--cache", "no/c.sqlite"], 2, "there is no folder 'no'"),
        (["data.jsonl", "--use", "./m.py"], 2, "Write ./m.py:NAME."),
        (
            ["data.jsonl", "--use", "./data.jsonl:x"],
            2,
            "'./data.jsonl' is neither a Python file nor a module",
        ),
        (["data.jsonl", "--use", "math", "--use", "guerdon/math"], 2, "adds a second 'math'. Use it once"),
        (
            ["data.jsonl", "--use", "./m.py:sometimes", "--labels", "answr"],
            2,
            "Did you mean 'answer'? Columns: ",
        ),
    ],
)
def test_score_with_wrong_input(
    guerdon: Guerdon, data: Path, arguments: list[str], status: int, words: str
) -> None:
    (data / "broken.jsonl").write_text('{"completion": "a"}\n{"completion": \n')
    (data / "latin.jsonl").write_bytes('{"completion": "é"}\n'.encode("latin-1"))
    (data / "empty.jsonl").write_text("\n")
    (data / "list.jsonl").write_text("[1]\n")
    done = guerdon("score", *arguments)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(data.glob("*.partial")) + list(data.glob(".*.partial"))


def test_ctrl_c_ends_a_command_with_one_word(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("guerdon.cli.doctor.doctor.callback", interrupted)
    assert call("doctor") == (130, "", "\nInterrupted.\n")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "command",
    [
        ("plan", "r1-zero-mini", "--gpu-memory"),
        ("serve", "--use", "math", "--unscored"),
        ("profile", "rows.jsonl", "--least"),
    ],
    ids=lambda command: command[0],
)
def test_an_option_that_is_a_number_is_finite(call: Any, command: tuple[str, ...], number: str) -> None:
    ended = call(*command, number)
    assert ended.status == 2
    assert f"{number} is not" in ended.err


def test_plugins_show_prints_a_backslash_once(call: Any) -> None:
    shown = call("plugins", "show", "math").out
    assert "\\boxed" in shown
    assert "\\\\" not in shown


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("max_workers = 0", "has the member 'max_workers' as 0. Make it a whole number above 0."),
        ("def gold_completions(self, reference): return reference", "Did you mean 'gold_completion'?"),
    ],
)
@pytest.mark.parametrize(
    "command", [("score", "rows.jsonl", "--use"), ("audit",)], ids=lambda words: words[0]
)
def test_a_wrong_member_of_a_plugin_is_refused_without_a_manifest(
    call: Any, tmp_path: Path, command: tuple[str, ...], member: str, words: str
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"completion": "a", "reference": "a"}\n')
    (tmp_path / "p.py").write_text(
        f"class Plugin:\n    {member}\n    def __call__(self, completion, reference): return completion == reference\n"
    )
    ended = call(*command, "./p.py:Plugin")
    assert ended.status == 2
    assert words in ended.err


def test_a_function_named_reward_scores_alone_but_not_next_to_the_rubrics_reward(
    call: Any, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"completion": "a", "reference": "1"}\n')
    (tmp_path / "p.py").write_text("def reward(completion): return 1.0\n")
    assert call("score", "rows.jsonl", "--use", "./p.py:reward").status == 0
    ended = call("score", "rows.jsonl", "--use", "./p.py:reward", "--use", "math")
    assert ended.status == 2
    assert "'reward' is the name of the rubric's reward. Rename the function" in ended.err
