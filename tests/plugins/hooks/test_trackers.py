"""The hooks of trackers, read back from the trackers' own stores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from wandb_log import content

from guerdon import StageResult
from guerdon.errors import MissingDependencyError, ParamsError
from guerdon.hookspecs import RunInfo
from guerdon_plugins.shared.tracking import Tracker, rollout_rows

MANIFEST = {"name": "sums", "seed": 3, "stages": [{"id": "rl"}, {"id": "test"}]}

RECORD: dict[str, Any] = {
    "prompt": [{"role": "user", "content": "1 + 1?"}],
    "completion": [{"role": "assistant", "content": "two \ud800"}],
    "columns": {"reference": ["2"]},
    "completion_tokens": 3,
    "reward": 1.0,
    "advantage": 0.5,
    "scores": {
        "math": {"value": 1.0, "explanation": "the same"},
        "judge": {"value": None, "failure": "timeout"},
    },
}

TABLES = {"evaluation": [{"model": "rl", "math_pass@8": 0.75}]}


def track(tracker: Tracker, folder: Path) -> None:
    """Report two stages to a tracker, as a run does."""
    run = RunInfo("sums", folder, MANIFEST, ["rl", "test"])
    tracker.stage_started(run, "rl")
    for step in (1, 2):
        tracker.rollouts_scored("rl", step, [RECORD] * 3)
        tracker.stage_progress("rl", step, {"reward": step / 2, "rewards/math/mean": 0.5})
    tracker.stage_finished("rl", StageResult(metrics={"reward": 1.0, "note": "text"}))
    tracker.stage_started(run, "test")
    tracker.stage_progress("test", 1, {"accuracy": 0.25, "pass@8": 0.5})
    tracker.stage_finished("test", StageResult(metrics={"tables": TABLES}))
    tracker.run_finished(None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    made = tmp_path / "run"
    made.mkdir()
    return made


def test_rollout_rows_have_the_same_columns_and_clean_texts() -> None:
    first, second = rollout_rows([RECORD, {**RECORD, "scores": {}, "columns": None}])
    assert first.keys() == second.keys()
    assert first["completion"] == "two \\ud800"
    assert first["reference"] == '["2"]'
    assert first["judge: explanation"] == "timeout"
    assert second["math"] is None


@pytest.mark.parametrize("name", ["TensorBoard", "Wandb", "Trackio", "Mlflow"])
def test_missing_library_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    library = name.lower()
    module = import_module(f"guerdon_plugins.hooks.{library}")
    for loaded in [one for one in sys.modules if one.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"'{library}'.*guerdon\[{library}\]"):
        getattr(module, name)()


def test_negative_number_of_rollouts_is_refused() -> None:
    pytest.importorskip("mlflow")
    from guerdon_plugins.hooks.mlflow import Mlflow

    with pytest.raises(ParamsError, match="rollouts is -1"):
        Mlflow(rollouts=-1)


def test_mlflow_has_runs_metrics_tables_and_manifest(folder: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from guerdon_plugins.hooks.mlflow import Mlflow

    track(Mlflow(rollouts=2), folder)
    client = mlflow.MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("sums")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"sums/rl", "sums/test"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    history = client.get_metric_history(runs["sums/rl"].info.run_id, "reward")
    assert [(one.step, one.value) for one in history] == [(1, 0.5), (2, 1.0)]
    assert runs["sums/test"].data.metrics == {"accuracy": 0.25, "pass_8": 0.5}
    assert runs["sums/rl"].data.metrics["result/reward"] == 1.0

    def artifact(run: str, path: str) -> Any:
        place = client.download_artifacts(runs[run].info.run_id, path, str(folder))
        return json.loads(Path(place).read_text())

    assert artifact("sums/rl", "manifest.json") == MANIFEST
    assert [row["prompt"] for row in artifact("sums/rl", "rollouts/00000002.json")["rows"]] == ["1 + 1?"] * 2
    assert artifact("sums/test", "evaluation.json")["rows"] == TABLES["evaluation"]


def test_failed_run_is_failed_in_mlflow(folder: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from guerdon_plugins.hooks.mlflow import Mlflow

    tracker = Mlflow(tracking_uri=(folder / "elsewhere").as_uri())
    tracker.stage_started(RunInfo("sums", folder, MANIFEST, ["rl"]), "rl")
    tracker.run_finished(RuntimeError("stopped"))
    client = mlflow.MlflowClient(tracking_uri=(folder / "elsewhere").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("sums").experiment_id])
    assert run.info.status == "FAILED"


def test_trackio_has_runs_metrics_tables_and_manifest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = pytest.importorskip("trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", folder / "trackio")
    from guerdon_plugins.hooks.trackio import Trackio

    track(Trackio(rollouts=2), folder)
    storage = trackio.SQLiteStorage
    assert set(storage.get_runs("sums")) == {"sums/rl", "sums/test"}
    logs = storage.get_logs("sums", "sums/rl")
    rewards = [(row["step"], row["reward"]) for row in logs if "reward" in row]
    assert rewards == [(1, 0.5), (2, 1.0)]
    tables = [row["rollouts"] for row in logs if "rollouts" in row]
    assert "1 + 1?" in json.dumps(tables, default=str)
    assert storage.get_run_config("sums", "sums/rl")["manifest"] == MANIFEST


def test_tensorboard_has_runs_metrics_tables_and_manifest(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    from guerdon_plugins.hooks.tensorboard import TensorBoard

    track(TensorBoard(rollouts=2), folder)

    def tensors(run: str, tag: str) -> list[tuple[int, Any]]:
        stored = EventAccumulator(str(folder / "tensorboard" / run)).Reload()
        return [(one.step, make_ndarray(one.tensor_proto).tolist()) for one in stored.Tensors(tag)]

    assert tensors("rl", "reward") == [(1, 0.5), (2, 1.0)]
    assert tensors("rl", "result/reward") == [(0, 1.0)]
    assert tensors("test", "pass@8") == [(1, 0.5)]
    (_, manifest), *_ = tensors("rl", "manifest")
    name, _, code = manifest.decode().partition("\n\n")
    assert name == "sums/rl"
    assert json.loads(code) == MANIFEST
    rollouts = tensors("rl", "rollouts")
    assert [step for step, _ in rollouts] == [1, 2]
    assert [row[:2] for row in rollouts[0][1]] == [
        [b"prompt", b"completion"],
        *[[b"1 + 1?", b"two \\ud800"]] * 2,
    ]
    assert tensors("test", "evaluation") == [(0, [[b"model", b"math_pass@8"], [b"rl", b"0.75"]])]


def test_wandb_has_runs_metrics_tables_and_manifest(folder: Path) -> None:
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it keeps what earlier tests of the process set
    from guerdon_plugins.hooks.wandb import Wandb

    track(Wandb(rollouts=2), folder)
    wandb.teardown()  # its service writes the end of a log after the run has ended
    logs = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert len(logs) == 2
    written = {path: content(path) for path in logs}
    for name in (b"sums/rl", b"sums/test"):
        assert sum(name in content for content in written.values()) == 1
    training = next(path for path, content in written.items() if b"sums/rl" in content)
    for part in (b"rewards/math/mean", b"result/reward", b"seed"):
        assert part in written[training]
    tables = [
        json.loads(path.read_text()) for path in training.parent.glob("files/media/table/rollouts*.json")
    ]
    assert len(tables) == 2
    assert tables[0]["columns"][:2] == ["prompt", "completion"]
    assert [row[0] for row in tables[0]["data"]] == ["1 + 1?"] * 2
