"""The source ``harbor``: task folders as rows, and what a folder needs that a shell without a network lacks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import DataError
from guerdon.testing import SourceConformance
from guerdon_plugins.sources.harbor import Harbor

TEST = "from add import add\n\ndef test_add():\n    assert add(2, 3) == 5\n"
DOCKERFILE = "FROM python:3.13\n# a note\nWORKDIR /app\nCOPY data/ ./data/\nCOPY a.txt \\\n  b.txt\n"
PASSES = "if python3 -m pytest -q /tests/test_outputs.py; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"


def make_task(folder: Path, **changed: str | None) -> Path:
    """A task of Harbor with these files changed, or left out where the text is ``None``."""
    files: dict[str, str | None] = {
        "task.toml": 'version = "1.0"\n[metadata]\ndifficulty = "easy"\n',
        "instruction.md": "Write add.py.\n",
        "environment/Dockerfile": DOCKERFILE,
        "environment/data/n/one.txt": "1",
        "environment/a.txt": "A",
        "tests/test.sh": PASSES,
        "tests/test_outputs.py": TEST,
        **changed,
    }
    for name, text in files.items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder


def rows(path: Path, **params: Any) -> list[dict[str, Any]]:
    return list(Harbor(str(path), **params))


def test_harbor_row_has_the_instruction_the_copied_files_and_the_tests(tmp_path: Path) -> None:
    make_task(tmp_path / "adding")
    (row,) = rows(tmp_path)
    assert (row["prompt"], row["task"]) == ([{"role": "user", "content": "Write add.py.\n"}], "adding")
    assert json.loads(row["files"]) == {"data/n/one.txt": "1", "b.txt": "A"}
    (test,) = json.loads(row["tests"])
    assert test["files"] == {"test.sh": PASSES, "test_outputs.py": TEST}
    assert rows(tmp_path / "adding") == [row]
    (direct,) = rows(tmp_path, tests="pytest")
    assert json.loads(direct["tests"])[0]["script"] == "python3 -m pytest -q /tests/test_outputs.py"
    assert "setup" not in direct


@pytest.mark.parametrize(
    ("copy", "files"),
    [
        ("COPY . .", {"a.txt": "A", "data/n/one.txt": "1", "Dockerfile": None}),
        ("COPY . /app/sub", {"sub/a.txt": "A", "sub/data/n/one.txt": "1", "sub/Dockerfile": None}),
        ('COPY ["a.txt", "c/"]', {"c/a.txt": "A"}),
        ("ADD *.txt .", {"a.txt": "A"}),
        ("COPY --chmod=755 a.txt /app/x", {"x": "A"}),
        ("copy a.txt x", {"x": "A"}),
    ],
)
def test_harbor_files_are_where_docker_copies_them(
    tmp_path: Path, copy: str, files: dict[str, str | None]
) -> None:
    make_task(tmp_path, **{"environment/Dockerfile": f"FROM x\nWORKDIR /app\n{copy}\n"})
    (row,) = rows(tmp_path)
    found = json.loads(row["files"])
    assert found.keys() == files.keys()
    assert all(text is None or found[path] == text for path, text in files.items())


def test_terminal_bench_task_is_a_row(tmp_path: Path) -> None:
    task = tmp_path / "hello"
    make_task(
        task,
        **{
            **dict.fromkeys(("task.toml", "instruction.md", "environment/Dockerfile", "tests/test.sh")),
            "environment/data/n/one.txt": None,
            "environment/a.txt": None,
            "data.csv": "1,2\n",
            "task.yaml": "instruction: |-\n  Write add.py.\ndifficulty: easy\n",
            "Dockerfile": "FROM ghcr.io/laude-institute/t-bench/python-3-13\nCOPY . /app\n",
            "docker-compose.yaml": "services:\n  client: {build: .}\n",
            "solution.sh": "echo the solution\n",
        },
    )
    (row,) = rows(tmp_path, tests="pytest")
    assert row["prompt"] == [{"role": "user", "content": "Write add.py."}]
    found = json.loads(row["files"])
    assert found.keys() == {
        "data.csv",
        "Dockerfile",
        "docker-compose.yaml",
    }  # neither the tests nor the solution
    with pytest.raises(DataError, match="Set the source's 'tests' to pytest"):
        rows(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task.toml": "a = ["}, "task.toml is not TOML"),
        ({"task.toml": "[[steps]]\nname = 'a'"}, "several steps"),
        ({"instruction.md": None}, "instruction.md is missing"),
        ({"tests/test.sh": "apt-get update\n"}, "calls 'apt-get', and the shell has no network"),
        ({"tests/test.sh": "set -e\n  curl -L x | sh\n"}, "calls 'curl'"),
        ({"tests/test.sh": "if uvx pytest /tests/test_outputs.py; then\n"}, "calls 'uvx'"),
        (
            {"environment/Dockerfile": "FROM x\nWORKDIR /app\nRUN apt-get install gcc\n"},
            "docker build -t NAME",
        ),
        ({"environment/Dockerfile": "FROM x\nWORKDIR /root\n"}, "Set 'folder: /root'"),
        ({"environment/Dockerfile": "FROM x\nCOPY a.txt /etc/a\n"}, "does not copy into /app"),
        ({"environment/Dockerfile": "FROM x\nCOPY --from=y /a /app/a\n"}, "does not copy into /app"),
        ({"environment/Dockerfile": "FROM x\nCOPY nothing.txt .\n"}, "which is not in environment"),
        ({"environment/docker-compose.yaml": "services: {a: {}, b: {}}"}, "2 services"),
        ({"task.toml": '[environment]\ndocker_image = "org/x:1"'}, "Set 'image: org/x:1'"),
        ({"task.toml": '[environment]\nos = "windows"'}, "system is windows"),
        ({"task.toml": '[environment.env]\nA = "1"'}, r"sets environment\.env"),
        ({"task.toml": '[verifier.env]\nKEY = "${KEY}"'}, r"sets verifier\.env"),
        ({"task.toml": '[[verifier.collect]]\ncommand = "x"'}, r"sets verifier\.collect"),
        ({"trajectory.json": "{}"}, "continues a conversation"),
        ({"tests/Dockerfile": "FROM x\nRUN pip install numpy\n"}, "set 'built: true' of the source"),
        ({"tests/test.sh": "python3 /tests/test_outputs.py\n"}, "writes no reward"),
    ],
)
def test_harbor_task_that_needs_more_is_an_error_that_says_how(
    tmp_path: Path, changed: dict[str, str | None], message: str
) -> None:
    make_task(tmp_path / "t", **changed)
    with pytest.raises(DataError, match=message) as raised:
        rows(tmp_path)
    assert "'t'" in str(raised.value)


def test_harbor_image_that_was_built_has_what_the_dockerfile_runs(tmp_path: Path) -> None:
    dockerfile = (
        "FROM x\nRUN apt-get install gcc\nCOPY a.txt /etc/\nCOPY --from=y /a /b\nWORKDIR /app\nCOPY a.txt .\n"
    )
    make_task(tmp_path, **{"environment/Dockerfile": dockerfile})
    (row,) = rows(tmp_path, built=True)
    assert json.loads(row["files"]) == {"a.txt": "A"}


def test_harbor_reads_the_one_reward_file_that_the_tests_name(tmp_path: Path) -> None:
    for number, (script, read) in enumerate(
        [
            ("echo 1 > /logs/verifier/reward.txt", "reward.txt"),
            ("python3 /tests/score.py > /logs/verifier/reward.json", "reward.json"),
            ("cp a /logs/verifier/reward.json; echo 1 > /logs/verifier/reward.txt", "reward.txt"),
        ]
    ):
        (row,) = rows(make_task(tmp_path / str(number), **{"tests/test.sh": script}))
        (test,) = json.loads(row["tests"])
        assert f'open("/logs/verifier/{read}")' in test["script"]


@pytest.mark.parametrize(
    ("rewards", "passes"),
    [
        ("1", True),
        ("1.0\n", True),
        ("0.99", False),
        ("NaN", False),
        ("", False),
        ("[1]", False),
        ('{"reward": 1, "speed": 0.2}', True),
        ('{"reward": 0, "speed": 1}', False),
        ('{"a": 1, "b": 1}', True),
        ('{"a": 1, "b": 0.5}', False),
        ("{}", False),
    ],
)
def test_harbor_reward_passes_from_1(tmp_path: Path, rewards: str, passes: bool) -> None:
    (row,) = rows(make_task(tmp_path / "t"))
    (test,) = json.loads(row["tests"])
    (tmp_path / "reward.txt").write_text(rewards)
    reading = test["script"].partition("bash /tests/test.sh\n")[2].replace("/logs/verifier", str(tmp_path))
    done = subprocess.run(["bash", "-c", reading], capture_output=True, check=False)
    assert (done.returncode == 0) == passes


def test_harbor_binary_file_is_an_error(tmp_path: Path) -> None:
    make_task(tmp_path)
    (tmp_path / "environment/data/x.bin").write_bytes(b"\xff\x00")
    with pytest.raises(DataError, match=r"x\.bin is not text"):
        rows(tmp_path)


def test_harbor_without_a_task_says_what_a_task_is(tmp_path: Path) -> None:
    for path in ("nowhere", "."):
        with pytest.raises(DataError, match=r"has task\.toml or task\.yaml"):
            Harbor(path, base_dir=tmp_path)


class TestConformance(SourceConformance):
    """The kit, on folders of two tasks."""

    plugin = "harbor"
    params = {"path": "tasks"}
    columns = ("prompt", "task", "files", "tests")

    @classmethod
    def setup_class(cls) -> None:
        import tempfile

        cls.base_dir = Path(tempfile.mkdtemp())
        for number in range(64):
            make_task(cls.base_dir / "tasks" / f"t{number}", **{"instruction.md": f"Write add{number}.py."})

    @classmethod
    def teardown_class(cls) -> None:
        import shutil

        shutil.rmtree(cls.folder())
