"""What ``guerdon new`` writes: projects that install, pass their own tests, are typed, and show as plugins."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guerdon.cli import new as new_module
from guerdon.cli.new import new
from guerdon.errors import InfrastructureError, UsageError

KINDS = ("verifier", "reward", "source", "stage", "hooks")


def write(kind: str, name: str) -> str:
    result = CliRunner().invoke(new, [kind, name], catch_exceptions=False)
    return result.output


def test_an_extra_is_added_to_the_guerdon_of_the_environment(tmp_path: Path) -> None:
    """Pages and messages name this command, and guerdon need not be on an index for it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--dry-run",
        "guerdon[serve]",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: guerdon[serve]" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_project_links_to_nothing_that_is_not_there(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(kind, "fine")
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            assert "://" not in path.read_text(), path


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time: about a minute of work, on a machine that may be busy
def test_every_kind_installs_passes_its_tests_and_is_listed(
    new_environment: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = new_environment()
    monkeypatch.chdir(tmp_path)
    folders = [f"guerdon-my-own-{kind}" for kind in KINDS]
    for kind, folder in zip(KINDS, folders, strict=True):
        assert f"pip install -e ./{folder}" in write(kind, f"my_own_{kind}")

    installed = environment.run(tmp_path, "pip", "install", *(word for f in folders for word in ("-e", f)))
    assert installed.returncode == 0, installed.stderr
    for folder in folders:
        tested = environment.run(tmp_path / folder, "pytest", "-p", "no:cacheprovider")
        assert tested.returncode == 0, tested.stdout

    listed = json.loads(environment.run(tmp_path, "guerdon", "plugins", "--json").stdout)
    mine = {row["name"]: row for row in listed if row["distribution"].startswith("guerdon-my-own-")}
    assert {name: (row["kind"], row["status"]) for name, row in mine.items()} == {
        f"my_own_{kind}": (kind, "installed") for kind in KINDS
    }
    tested = environment.run(
        tmp_path, "guerdon", "plugins", "test", "my_own_verifier", "-p", "ignore_case=false"
    )
    assert tested.returncode == 0, tested.stdout

    sources = [f"{folder}/src" for folder in folders]
    for command in (
        ["mypy", "--strict", *sources],
        ["ruff", "check", *folders],
        ["ruff", "format", "--check", *folders],
    ):
        checked = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("verifier", "math", r"verifier 'math' \(guerdon .*\) is installed already"),
        ("verifier", "cosine", r"reward 'cosine' \(guerdon .*\) is installed already"),
        ("verifier", "My-Idea", "'My-Idea' cannot be a plugin's name: .* Did you mean 'my_idea'?"),
        ("source", "../up", "'../up' cannot be a plugin's name: .* Did you mean 'up'?"),
        ("verifier", "数据", "'数据' cannot be a plugin's name: .* a letter first\\.$"),
        ("tool", "Größe", "'Größe' cannot be a plugin's name: .* Did you mean 'gr_e'\\?"),
        ("stage", "class", "'class' is a keyword of Python, and a plugin's package has its name"),
        ("hooks", "sandbox", "module would be 'guerdon_sandbox', which exists already"),
        ("reward", "taken", "guerdon-taken exists already"),
        ("tool", "a" * 65, "'a{20}…' has 65 characters\\. A plugin's name has at most 64\\.$"),
    ],
)
def test_a_name_that_cannot_be_is_an_error_and_leaves_nothing(
    kind: str, name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guerdon-taken").mkdir()
    with pytest.raises(UsageError, match=message):
        write(kind, name)
    assert [path.name for path in tmp_path.rglob("*")] == ["guerdon-taken"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InfrastructureError, match="guerdon-mine cannot be written: No space left on device"):
        write("verifier", "mine")
    assert list(tmp_path.iterdir()) == []


def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(root),
    ]
    subprocess.run([sys.executable, "-m", *command], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("guerdon/cli/templates/")}
    files = [
        path for path in new_module.TEMPLATES.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert packed == {f"guerdon/cli/templates/{path.relative_to(new_module.TEMPLATES)}" for path in files}
