"""A wrong argument or option is told in one line, with the place where the right use is shown."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import click
import pytest

from guerdon.cli.main import cli, main


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("runn", "guerdon: there is no command 'runn'. Did you mean 'run'? 'guerdon --help' shows"),
        ("check", "guerdon check: Missing argument 'MANIFEST|RECIPE'. 'guerdon check --help' shows"),
        ("check a b", "guerdon check: Got unexpected extra argument (b). 'guerdon check --help' shows"),
        (
            "check --ofline a",
            "guerdon check: No such option '--ofline'. Did you mean '--offline'? 'guerdon check",
        ),
        ("run a --set", "Option '--set' requires an argument. The command's --help shows"),
        ("new", "guerdon new: Missing argument 'KIND'. Choose from: verifier, reward, group_reward, source"),
        ("new verifir x", "'verifir' is not one of 'verifier', 'reward', 'group_reward'"),
        ("new verifir x", "Did you mean 'verifier'? 'guerdon new --help' shows"),
        ("audit x --kind fromat", "Did you mean 'format'?"),
        ("audit x --rows 0", "guerdon audit: Invalid value for '--rows': 0 is not in the range x>=1."),
        ("serve --port x", "guerdon serve: Invalid value for '--port': 'x' is not a whole number."),
        (
            "audit --use x",
            "No such option '--use'. Did you mean one of: '--cases', '--stage'? 'guerdon audit --help'",
        ),
        ("new verifier class", "'class' is a keyword of Python"),
        ("plugins shw x", "guerdon plugins: No such command 'shw'. Did you mean 'show'?"),
        *(
            (f"{command} {'a' * 300}", "…' is too long for a file's name.")
            for command in ("runs", "report", "card")
        ),
        (f"score {'a' * 300}.jsonl --use format", "…' is too long for a file's name."),
        *(
            (f"{command} /dev/null", "/dev/null: no such folder.")
            for command in ("report", "card", "runs", "view")
        ),
        ("sandbox run - --memory-mb 0", "Invalid value for '--memory-mb': 0 is not in the range x>=1."),
        ("sandbox build --with x", "guerdon sandbox build: Invalid value for '--with': 'x' is not one of"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_the_command(
    arguments: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["guerdon", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("UsageError: ")
    assert expected in told.err


@pytest.mark.parametrize("spelled", ["group_reward", "group-reward"])
def test_new_takes_a_kind_in_both_spellings(
    spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["guerdon", "new", spelled, "twice"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "guerdon.group_rewards" in (tmp_path / "guerdon-twice/pyproject.toml").read_text()


def test_characters_that_the_terminal_lacks_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "数").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["guerdon", "runs", "数"])
    printed = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(printed, encoding="latin-1", write_through=True))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert rb"No run is in \u6570" in printed.getvalue()


@pytest.mark.parametrize("command", ["score", "serve", "diff", "audit", "plugins test"])
def test_a_param_has_one_spelling_in_every_command(command: str) -> None:
    found: click.Command = cli
    for word in command.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    assert ["--param", "-p"] in [option.opts for option in found.params]


def test_help_of_new_lists_the_kinds() -> None:
    command = cli.get_command(click.Context(cli), "new")
    assert command is not None
    assert "verifier, reward, group_reward, source, stage, hooks, tool, environment" in str(command.help)
