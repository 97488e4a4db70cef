"""``guerdon sandbox``: what a user types, and the exit status that a script sees."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from guerdon_sandbox import cli, engine, image
from guerdon_sandbox.cli import sandbox
from guerdon_sandbox.doctor import _limits, _walls
from guerdon_sandbox.engine import IMAGE_LABEL, PYTHON_IMAGE, TOOLCHAIN_IMAGE, BoxOptions, Engine


def test_no_engine_is_exit_status_3() -> None:
    for arguments in (["doctor"], ["check"], ["clean"], ["build", "--if-missing"]):
        result = CliRunner().invoke(sandbox, [*arguments, "--engine", "unix:///nowhere.sock"])
        assert result.exit_code == 3, arguments
        assert "nowhere.sock is not usable" in result.output


def test_one_missing_engine_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "program.py").write_text("")
    given = ["run", str(tmp_path / "program.py"), "--engine", "unix:///nowhere.sock"]
    result = CliRunner().invoke(sandbox, given)
    assert result.exit_code == 3
    assert result.stderr.count("is not usable") == 1
    assert not caplog.records
    assert CliRunner().invoke(sandbox, [*given, "--engine", "unix:///elsewhere.sock"]).exit_code == 3
    assert len(caplog.records) == 2  # another one may be usable


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--engine", "foo"], "the Docker engine's address is 'foo'; give unix:///path or tcp://host:port"),
        (["--wall-s", "nan"], "limit wall_s is nan; it must be positive, and 2**50 at most"),
        (["--cpu-s", "99999999999999999999"], "it must be positive, and 2**50 at most"),
    ],
)
def test_wrong_options_are_exit_status_2(given: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("")
    result = CliRunner().invoke(sandbox, ["run", str(tmp_path / "program.py"), *given])
    assert (result.exit_code, words in result.stderr) == (2, True)


@pytest.mark.docker
def test_a_missing_runtime_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("")
    result = CliRunner().invoke(sandbox, ["run", str(tmp_path / "program.py"), "--runtime", "nope"])
    assert result.exit_code == 3
    assert "has no runtime 'nope'. Install it there, or name one of its own: " in result.stderr
    assert "Start it" not in result.stderr


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
    assert "Pull or build it" in missing.output


@pytest.mark.docker
def test_build_leaves_an_image_that_is_there() -> None:
    if Engine().has_old_image(PYTHON_IMAGE):
        pytest.fail(f"{PYTHON_IMAGE} is of an older guerdon; run .ci/start-docker")
    before = Engine().client.images.get(PYTHON_IMAGE).id
    assert CliRunner().invoke(sandbox, ["build", "--if-missing"]).exit_code == 0
    assert Engine().client.images.get(PYTHON_IMAGE).id == before


@pytest.fixture
def old_image(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The image of boxes, with the label of an older guerdon."""
    client, name = Engine().client, f"guerdon-test-{os.getpid()}:old"
    dockerfile = f"FROM {PYTHON_IMAGE}\nLABEL {IMAGE_LABEL}=0\n"
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, rm=True)
    for module in (engine, cli, image):
        monkeypatch.setattr(module, "PYTHON_IMAGE", name)
    yield name
    client.images.remove(name)


@pytest.mark.docker
def test_an_image_of_an_older_guerdon_is_named_with_the_command_that_replaces_it(
    old_image: str, caplog: pytest.LogCaptureFixture
) -> None:
    advice = f"{old_image} is of an older guerdon. Build it with: guerdon sandbox build"
    doctor = CliRunner().invoke(sandbox, ["doctor", "--image", old_image])
    assert f"! image: {advice}" in doctor.output
    caplog.clear()
    with caplog.at_level("WARNING"):
        Engine().check(BoxOptions(image=old_image))
    assert [f"{old_image} on {Engine().address} is of an older guerdon"] == [
        record.getMessage().partition(". ")[0] for record in caplog.records
    ]
    assert caplog.text.rstrip().endswith("guerdon sandbox build")


@pytest.mark.docker
def test_build_replaces_an_image_of_an_older_guerdon(old_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(image, "_docker_build", lambda engine, name, packages: built.append(name))
    for _ in range(2):
        result = CliRunner().invoke(sandbox, ["build", "--if-missing", "--method", "dockerfile"])
        assert result.exit_code == 0, result.output
    assert built == [old_image] * 2


@pytest.mark.docker
def test_clean_leaves_boxes_in_use() -> None:
    result = CliRunner().invoke(sandbox, ["clean"])
    assert result.exit_code == 0
    assert result.output.startswith("removed ")


@pytest.mark.parametrize("method", ["auto", "dockerfile", "debootstrap"])
def test_build_takes_the_methods_that_its_advice_names(method: str) -> None:
    result = CliRunner().invoke(sandbox, ["build", "--method", method, "--engine", "unix:///nowhere.sock"])
    assert result.exit_code == 3, result.output


def test_build_with_a_language_needs_the_toolchain() -> None:
    result = CliRunner().invoke(sandbox, ["build", "--with", "go"])
    assert result.exit_code == 2
    assert "--toolchain" in result.output


def test_doctor_does_not_advise_itself() -> None:
    result = CliRunner().invoke(sandbox, ["doctor", "--engine", "unix:///nowhere.sock"])
    assert "sandbox doctor" not in result.output
    assert "docker.io debootstrap" in result.output


@pytest.mark.parametrize("source", [b"print('\xe9')", b"# coding: no-such\n", b"# coding: utf-8\nx = '\xff'"])
def test_run_of_a_file_that_cannot_be_decoded_is_one_line(tmp_path: Path, source: bytes) -> None:
    file = tmp_path / "program.py"
    file.write_bytes(source)
    result = CliRunner().invoke(sandbox, ["run", str(file)])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "Save it as UTF-8" in result.stderr


@pytest.mark.docker
def test_run_takes_the_encoding_that_a_file_declares(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_bytes(b"# coding: latin-1\nprint(len('\xe9'))")
    assert CliRunner().invoke(sandbox, ["run", str(file)]).stdout == "1\n"


@pytest.mark.parametrize(
    ("name", "advice"), [(PYTHON_IMAGE, "build"), (TOOLCHAIN_IMAGE, "build --toolchain")]
)
def test_advice_for_a_missing_image_builds_that_image(name: str, advice: str) -> None:
    assert str(Engine("unix:///nowhere").lacks(name)).endswith(f"guerdon sandbox {advice}")


def test_info_of_a_weak_engine_is_told_with_the_fix() -> None:
    weak = {finding.subject: finding.text for finding in [*_walls({}), *_limits({"Driver": "vfs"})]}
    assert "userns-remap" in weak["user namespace"]
    assert "AppArmor" in weak["LSM"]
    assert "unified_cgroup_hierarchy" in weak["cgroups"]
    assert "overlay2" in weak["storage"]
    strong = {
        "SecurityOptions": ["name=seccomp,profile=default", "name=userns", "name=apparmor"],
        "Runtimes": {"runsc": {}},
        "CgroupVersion": "2",
        "Driver": "overlay2",
        "MemoryLimit": True,
        "PidsLimit": True,
        "CpuCfsQuota": True,
    }
    assert {finding.mark for finding in [*_walls(strong), *_limits(strong)]} == {"✓"}
