"""The environment ``shell``: its tests decide, out of the model's reach."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from slow_cases import slow_but

from guerdon.errors import DataError
from guerdon.testing import EnvironmentConformance
from guerdon_plugins.environments.row_tests import read_tests
from guerdon_plugins.environments.shell import Shell
from guerdon_sandbox.engine import LABEL, Engine, this_process

SCRIPT = {
    "script": "python3 -m pytest -q /tests/test_solution.py",
    "files": {"test_solution.py": "from solution import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"},
}
FILE = {"file": "d", "content": "4"}
HONEST = "printf 'def add(a, b):\\n    return a + b\\n' > solution.py"
ATTACKS = dict(
    part.split("\n", 1) for part in (Path(__file__).parent / "attacks.txt").read_text().split("### ")[1:]
)
OF_EACH_KIND = {
    "ends the process of the tests",
    "a conftest that skips everything",
    "a library of the tests replaced",
    "another python first on the PATH",
    "a trap and functions that are exported",
    "a process that waits for the tests",
    "links in the places of the tests",
    "a full disk",
    "a fork bomb",
}
"""The others try the same at another place, as a file of another name does."""


@pytest.fixture(scope="module")
def shell(docker_engine: None, loop: asyncio.Runner) -> Iterator[Shell]:
    opened = Shell(command_s=3, test_s=60, work_mb=8)
    yield opened
    loop.run(opened.aclose())


def play(loop: asyncio.Runner, shell: Shell, commands: list[str], **row: Any) -> tuple[float, list[str]]:
    async def episode() -> tuple[float, list[str]]:
        await shell.reset(**row)
        read = [await shell.shell(command) for command in commands]
        return await shell.get_reward(), read

    return loop.run(episode())


@pytest.mark.docker
@pytest.mark.parametrize("attack", slow_but(OF_EACH_KIND, ATTACKS))
def test_attack_earns_nothing_and_the_next_honest_rollout_is_paid(
    loop: asyncio.Runner, shell: Shell, attack: str
) -> None:
    assert play(loop, shell, [ATTACKS[attack]], tests=[SCRIPT])[0] == 0.0
    assert play(loop, shell, ["echo 4 > d"], tests=[FILE])[0] == 1.0


def test_number_of_attacks() -> None:
    assert len(ATTACKS) >= 25


@pytest.mark.docker
@pytest.mark.parametrize(
    ("test", "right", "wrong"),
    [
        (SCRIPT, HONEST, "echo 'add = max' > solution.py"),
        (
            {"run": "python3 main.py", "stdin": "2 3\n", "stdout": "5"},
            "echo 'print(sum(map(int, input().split())))' > main.py",
            "echo 'print(6)' > main.py",
        ),
        (
            {"run": "cat given.txt mine.txt", "stdout": "theirs\nmine\n", "files": {"given.txt": "theirs\n"}},
            "echo mine > mine.txt; echo forged > given.txt",
            "echo forged > mine.txt",
        ),
        ({"file": "a/b.txt", "content": "5"}, "mkdir a; echo 5 > a/b.txt", "echo 5 > b.txt"),
        ({"file": "b.txt", "content": "5"}, "echo 5 > b.txt", "echo 5 > c.txt; ln -s c.txt b.txt"),
        (
            {"python": "assert add(2, 3) == 5", "source": "solution.py"},
            HONEST,
            "echo 'import os; os._exit(0)' > solution.py",
        ),
    ],
)
def test_each_kind_of_test_pays_what_is_right_only(
    loop: asyncio.Runner, shell: Shell, test: dict[str, Any], right: str, wrong: str
) -> None:
    assert play(loop, shell, [right], tests=[test])[0] == 1.0
    assert play(loop, shell, [wrong], tests=json.dumps([test]))[0] == 0.0


@pytest.mark.docker
def test_state_stays_between_commands_and_not_between_rollouts(loop: asyncio.Runner, shell: Shell) -> None:
    row = {"files": {"a/b.txt": "hi"}, "setup": "echo made > c.txt", "tests": [FILE]}
    commands = [
        "cat a/b.txt; cat c.txt; cd a; export X=4",
        "pwd; echo $X > /box/d",
        "exit 3",
        "sleep 9",
        "cd /x",
    ]
    reward, read = play(loop, shell, commands, **row)
    assert reward == 1.0
    assert read[0] == "himade"
    assert read[1:4] == ["/box/a", "[exit status 3]", "[stopped after 3 s]"]
    assert read[4].endswith("No such file or directory\n[exit status 1]")
    reward, read = play(loop, shell, ["pwd; ls -A; ls -A /tmp /tests; echo $X"], tests=row["tests"])
    assert (reward, read) == (0.0, ["/box\n/tests:\n\n/tmp:"])


@pytest.mark.docker
def test_tests_settings_are_those_of_the_row(loop: asyncio.Runner, shell: Shell) -> None:
    given = {"conftest.py": "KNOWN = 5\n"}
    test = {"script": "grep -q 'KNOWN = 5' conftest.py && ! test -e sub/conftest.py"}
    commands = ["echo forged > conftest.py; mkdir sub; echo forged > sub/conftest.py"]
    assert play(loop, shell, commands, files=given, tests=[test])[0] == 1.0


@pytest.mark.docker
def test_rollout_leaves_no_container(loop: asyncio.Runner, shell: Shell) -> None:
    before = mine()
    play(loop, shell, ["sleep 100 &"], tests=[FILE, SCRIPT])
    end = time.monotonic() + 60
    while left := mine() - before:  # the engine removes a box that has ended by itself
        assert time.monotonic() < end, left
        time.sleep(0.05)


def mine() -> set[str]:
    return {box["Id"] for box in Engine().boxes() if box["Labels"][LABEL] == this_process()}


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (None, "Give a list with at least one test"),
        ([], "Give a list with at least one test"),
        ("[", "is not JSON"),
        ([1], "test 1 is 1. Give an object"),
        ([{"stdout": "x"}], "Give one of run, file, python, script"),
        ([{"run": "x", "file": "y"}], "Give one of"),
        ([{"run": "x", "stdou": "y"}], "has the key 'stdou'"),
        ([{"run": "x"}], "lacks a key"),
        ([{"file": "x", "content": 5}], "'content' is 5"),
        ([{"script": "x", "files": {"a": 1}}], "Give an object of texts by path"),
    ],
)
def test_row_whose_tests_cannot_be_read_is_an_error(tests: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tests(tests)


@pytest.mark.docker
class TestShell(EnvironmentConformance):
    plugin = "shell"
    params = {"command_s": 2}
    timeout_s = 60.0
    row = {"tests": [FILE]}
    episode = (("shell", {"command": "echo 4 > d"}),)
    reward = 1.0

    @classmethod
    def hostile_calls(cls) -> list[tuple[str, Mapping[str, Any]]]:
        """Return some of each kind, because each has a container of its own. `TestWrong` tries all."""
        return super().hostile_calls()[::-3]


@pytest.mark.docker
@pytest.mark.slow
class TestWrong(EnvironmentConformance):
    """The checks of `TestShell`, with all hostile calls, of an episode that earns nothing."""

    plugin = "shell"
    params = {"command_s": 2}
    timeout_s = 60.0
    row = {"tests": [FILE]}
    episode = (("shell", {"command": "echo 5 > d"}),)
    reward = 0.0
