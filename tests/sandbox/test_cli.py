"""``guerdon sandbox``: what a user types, and the exit status that a script sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from guerdon_sandbox.cli import sandbox
from guerdon_sandbox.engine import PYTHON_IMAGE, Engine


def test_no_engine_is_exit_status_3() -> None:
    for arguments in (["doctor"], ["check"], ["clean"], ["build", "--if-missing"]):
        result = CliRunner().invoke(sandbox, [*arguments, "--engine", "unix:///nowhere.sock"])
        assert result.exit_code == 3, arguments
        assert "nowhere.sock is not usable" in result.output


@pytest.mark.docker
def test_run_passes_everything_on(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("import sys\nprint(sys.argv[1:], input())\nprint('e', file=sys.stderr)\nsys.exit(4)")
    result = CliRunner().invoke(sandbox, ["run", str(file), "a", "--stdin", "-"], input="line\n")
    assert result.exit_code == 4
    assert result.stdout == "['a'] line\n"
    assert result.stderr.startswith("e\nexit 4; ")


@pytest.mark.docker
def test_run_says_which_limit_ended_a_program(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("while True: pass")
    result = CliRunner().invoke(sandbox, ["run", str(file), "--cpu-s", "1"])
    assert result.exit_code == 1
    assert "cpu limit" in result.stderr


@pytest.mark.docker
def test_doctor_runs_a_box() -> None:
    result = CliRunner().invoke(sandbox, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "runs Python 3." in result.output
    missing = CliRunner().invoke(sandbox, ["doctor", "--image", "no-such-image:x"])
    assert missing.exit_code == 3
    assert "guerdon sandbox build" in missing.output


@pytest.mark.docker
def test_build_leaves_an_image_that_is_there() -> None:
    before = Engine().client.images.get(PYTHON_IMAGE).id
    assert CliRunner().invoke(sandbox, ["build", "--if-missing"]).exit_code == 0
    assert Engine().client.images.get(PYTHON_IMAGE).id == before


@pytest.mark.docker
def test_clean_leaves_boxes_in_use() -> None:
    result = CliRunner().invoke(sandbox, ["clean"])
    assert result.exit_code == 0
    assert result.output.startswith("removed ")
