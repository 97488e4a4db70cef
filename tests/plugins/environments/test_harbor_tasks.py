"""Task folders of Harbor, from the source ``harbor``, in the environment ``shell``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_cases import slow_but

from guerdon_plugins.environments.shell import Shell
from guerdon_plugins.sources.harbor import Harbor

FILES = {
    "task.toml": 'version = "1.0"\n',
    "instruction.md": "Write add.py, with the function of names.txt.\n",
    "environment/Dockerfile": "FROM python:3.13\nWORKDIR /app\nCOPY names.txt .\n",
    "environment/names.txt": "add\n",
    "tests/test_outputs.py": "import sys\n\nsys.path.append('/app')\n\n\ndef test_add():\n"
    "    from add import add\n\n    assert add(2, 3) == 5\n",
    "tests/test.sh": "if python3 -m pytest -q /tests/test_outputs.py; then echo 1 > /logs/verifier/reward.txt\n"
    "else echo 0 > /logs/verifier/reward.txt; fi\n",
}
RIGHT = 'printf "def $(cat names.txt)(a, b):\\n    return a + b\\n" > add.py'
# A background process of the model's code that writes a reward until the script has ended.
FORGED = """cat > add.py <<'END'
import subprocess
subprocess.Popen(["setsid", "bash", "-c", "for i in $(seq 400); do echo 1 > /logs/verifier/reward.txt; done"])
def add(a, b): return 0
END"""
EARLY = "mkdir -p /logs/verifier; echo 1 > /logs/verifier/reward.txt; echo 'raise SystemExit(0)' > add.py"


@pytest.fixture(scope="module")
def shell(docker_engine: None, loop: asyncio.Runner) -> Iterator[Shell]:
    opened = Shell(folder="/app", writable=["/tmp", "/logs"], command_s=5, work_mb=8)
    yield opened
    loop.run(opened.aclose())


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "adding" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "adding" / name).write_text(text)
    return tmp_path


def play(loop: asyncio.Runner, shell: Shell, row: dict[str, Any], command: str) -> float:
    async def episode() -> float:
        await shell.reset(**row)
        await shell.shell(command)
        return await shell.get_reward()

    return loop.run(episode())


@pytest.mark.docker
@pytest.mark.parametrize("tests", slow_but(("pytest",), ("script", "pytest")))
def test_harbor_task_pays_what_passes_its_tests_only(
    loop: asyncio.Runner, shell: Shell, tasks: Path, tests: Any
) -> None:
    (row,) = Harbor(str(tasks), tests=tests)
    assert play(loop, shell, row, RIGHT) == 1.0
    for command in ("true", "echo 'add = max' > add.py", FORGED, EARLY):
        assert play(loop, shell, row, command) == 0.0, command


@pytest.mark.docker
def test_harbor_task_in_a_shell_that_cannot_write_the_reward_is_not_a_reward_of_0(
    loop: asyncio.Runner, docker_engine: None, tasks: Path
) -> None:
    (row,) = Harbor(str(tasks))
    small = Shell(folder="/app", work_mb=8)
    with pytest.raises(ValueError, match=r"set writable: \[/tmp, /logs\] of the environment"):
        play(loop, small, row, RIGHT)
    loop.run(small.aclose())


def test_shell_folder_that_cannot_be_writable_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be writable"):
        Shell(folder="/tests")
