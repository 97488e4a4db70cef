"""What makes a stage of a run folder another one, what makes it longer, and what does not matter to it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import RunInterruptedError, UsageError
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute
from guerdon.run.inputs import change
from guerdon.stage import StageResult

FIXTURE = Path(__file__).parents[2] / "fixtures/run_plugins.py"

Run = Callable[..., Mapping[str, StageResult]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs stages in one folder."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # plugins are imported from their manifest's folder
    shutil.copy(FIXTURE, tmp_path / "m.py")
    (tmp_path / "run_helper.py").write_text("value = 1.0\n")

    def run_stages(*stages: dict[str, Any], top: Mapping[str, Any] | None = None, **options: Any) -> Any:
        manifest = {"name": "x", "stages": [{"init": "none", **stage} for stage in stages], **(top or {})}
        (tmp_path / "m.yaml").write_text(json.dumps(manifest))
        return execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / "out", [], **options)

    return run_stages


def counter(use: str = "Counter", **params: Any) -> dict[str, Any]:
    return {"id": "a", "use": f"./m.py:{use}", "params": params}


def judged(entry: str, **params: Any) -> dict[str, Any]:
    reward = {"use": f"./m.py:{entry}", "params": params}
    return {"id": "j", "use": "./m.py:judge", "data": [{"use": "./m.py:Rows"}], "rewards": [reward]}


def test_operational_param_of_a_finished_stage_changed_skips_it(run: Run) -> None:
    first = run(counter(told="now and then"))
    assert run(counter(told="always")) == first


def test_longer_finished_stage_resumes_from_its_checkpoint(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run(counter(steps=4))
    assert run(counter(steps=6))["a"].metrics == {"counted": 6, "from": 4}
    assert "stage 'a' is made longer: steps was 4 and is 6" in caplog.text


def test_longer_unfinished_stage_resumes_from_its_checkpoint(run: Run) -> None:
    with pytest.raises(RunInterruptedError):
        run(counter(steps=4, signal_at=2))
    with pytest.raises(UsageError, match="signal_at was 2 and is not set"):
        run(counter(steps=6))
    assert run(counter(steps=6, signal_at=2))["a"].metrics == {"counted": 6, "from": 2}


def test_longer_finished_stage_without_checkpoints_is_another_stage(run: Run, tmp_path: Path) -> None:
    run(counter(steps=4))
    shutil.rmtree(tmp_path / "out/stages/a" / "work")
    with pytest.raises(UsageError, match="steps was 4 and is 6"):
        run(counter(steps=6))


def test_shorter_stage_is_another_stage(run: Run) -> None:
    run(counter(steps=4))
    with pytest.raises(UsageError, match="steps was 4 and is 3"):
        run(counter(steps=3))


def test_change_of_a_stage_that_init_names_says_which() -> None:
    before = {"stage": {"params": {}}, "init": [{"stage": "a", "inputs": "1"}]}
    now = {"stage": {"params": {}}, "init": [{"stage": "a", "inputs": "2"}]}
    assert "init[0] is stage 'a', whose own inputs changed" in str(
        change(before, now, finished=True).difference
    )


def test_redo_keeps_what_was_there(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(counter(steps=4))
    assert run(counter(steps=3), redo=True)["a"].metrics == {"counted": 3, "from": 0}
    assert (tmp_path / "out/replaced/a-1" / "work" / "step").read_text() == "4"
    assert "replaced/a-1" in caplog.text
    run(counter(steps=2), redo=True)
    assert (tmp_path / "out/replaced/a-2" / "work" / "step").read_text() == "3"


def test_module_that_a_verifier_imports_is_named(run: Run, tmp_path: Path) -> None:
    assert run(judged("helped"))["j"].metrics == {"reward": 3.0}
    (tmp_path / "run_helper.py").write_text("value = 0.5\n")
    with pytest.raises(UsageError, match=r"modules\.run_helper\.py was '\w+' and is '\w+'"):
        run(judged("helped"))
    # The scores of before, which the cache still holds, are not those of the changed module.
    assert run(judged("helped"), redo=True)["j"].metrics == {"reward": 1.5}


@pytest.mark.parametrize("edit", ["new", "same size, same time"])
def test_local_weights_that_changed_are_named(run: Run, tmp_path: Path, edit: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"before")
    stage = {**counter(), "init": "base"}
    run(stage, top={"model": "./model"})
    run(stage, top={"model": "./model"})
    (model / "README.md").write_text("of no matter")
    run(stage, top={"model": "./model"})
    times = (model / "model.safetensors").stat()
    (model / "new").write_bytes(b"after!")
    (model / "new").replace(model / "model.safetensors")
    if edit == "same size, same time":
        os.utime(model / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UsageError, match=r"init\[0\]\.content\.model\.safetensors was"):
        run(stage, top={"model": "./model"})


def test_local_model_of_a_reward_that_changed_is_named(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "rm"
    model.mkdir()
    (model / "config.json").write_text("{}")
    run(judged("LocalModel", model="./rm"))
    (model / "config.json").write_text('{"a": 1}')
    with pytest.raises(UsageError, match=r"rewards\[0\]\.models\.model\.config\.json was"):
        run(judged("LocalModel", model="./rm"))


def test_processes_of_an_unfinished_stage_changed_are_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunInterruptedError):
        run(counter("Launched", signal_at=2))
    path = tmp_path / "out/stages/a/inputs.json"
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 2'))
    with pytest.raises(UsageError, match="processes was 2 and is 1"):
        run(counter("Launched", signal_at=2))


def test_processes_of_a_finished_stage_do_not_matter(run: Run, tmp_path: Path) -> None:
    first = run(counter("Launched"))
    path = tmp_path / "out/stages/a/inputs.json"
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 8'))
    assert run(counter("Launched")) == first


def test_secret_param_reaches_no_file(run: Run, tmp_path: Path) -> None:
    stage = judged("LocalModel", model="m")
    stage["data"][0]["add"] = {"api_key": "s3cr3t-value"}
    run(stage)
    for path in (tmp_path / "out").rglob("*.json*"):
        assert "s3cr3t-value" not in path.read_text()


def test_secret_that_changed_or_left_the_environment_is_not_a_change(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = counter(told="x")
    stage["data"] = [{"use": "./m.py:Rows", "add": {"api_key": "first-secret", "place": "at my-password-1"}}]
    monkeypatch.setenv("DB_PASSWORD", "my-password-1")
    first = run(stage)
    monkeypatch.delenv("DB_PASSWORD")
    stage["data"][0]["add"]["api_key"] = "second-secret"
    assert run(stage) == first
    stage["data"][0]["add"]["other"] = 1
    with pytest.raises(UsageError, match="other was not set and is 1"):
        run(stage)
