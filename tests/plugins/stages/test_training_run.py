"""Training stages as a run runs them: their trackers, options that are no inputs, longer training, secrets."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_log import content

from guerdon import Model
from guerdon.errors import ManifestError, RunInterruptedError
from guerdon.hookspecs import hookimpl
from guerdon.manifest import load_manifest, plan_run
from guerdon.run import execute
from guerdon.run.log import read_events

FIXTURE = Path(__file__).parents[2] / "fixtures/kill_plugins.py"

GRPO = {
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 4,
    "learning_rate": 1e-2,
}
SFT = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}

Run = Callable[..., Path]


class Signal:
    """Sends this process a signal after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    @hookimpl
    def stage_progress(self, step: int) -> None:
        if step == self._step:
            self._step = 0
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def run(tmp_path: Path, small_model: Model) -> Run:
    """Runs one stage and gives the run's folder."""
    shutil.copy(FIXTURE, tmp_path / "kill_plugins.py")

    def run_stage(
        use: str,
        *hooks: object,
        folder: str = "out",
        evaluation: dict[str, Any] | None = None,
        **params: Any,
    ) -> Path:
        source = {"sft": "Texts", "dpo": "Pairs"}.get(use, "Prompts")
        stage: dict[str, Any] = {"id": "st", "use": use, "data": [{"use": f"./kill_plugins.py:{source}"}]}
        stage["params"] = {**(GRPO if use == "grpo" else SFT), "max_steps": 4, **params}
        if use == "distill":
            stage["init"] = [{"path": small_model.path}] * 2
        if use == "grpo":
            stage["rewards"] = [{"use": "./kill_plugins.py:letters"}]
        if evaluation is not None:
            stage["evaluation"] = {"data": [{"use": "./kill_plugins.py:Prompts"}], **evaluation}
        (tmp_path / "m.yaml").write_text(
            json.dumps({"name": "tracked", "model": small_model.path, "stages": [stage]})
        )
        execute(plan_run(load_manifest(tmp_path / "m.yaml")), tmp_path / folder, hooks)
        return tmp_path / folder

    return run_stage


def same_weights(ours: Path, theirs: Path) -> bool:
    first, second = (load_file(run / "stages/st/output/model.safetensors") for run in (ours, theirs))
    return first.keys() == second.keys() and all((first[name] == second[name]).all() for name in first)


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "stages/st/work").glob("checkpoint-*"))


@pytest.mark.parametrize("use", ["grpo", "sft"])
def test_report_to_tensorboard_is_there_after_the_stage(run: Run, use: str) -> None:
    out = run(use, report_to="tensorboard")
    read = EventAccumulator(str(out / "stages/st/logs/tensorboard"))
    read.Reload()
    assert [event.step for event in read.Scalars("train/loss")] == [1, 2, 3, 4]


def test_report_to_wandb_is_there_after_each_stage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # it has read the environment if an earlier test of the process used it
    for folder in ("first", "second"):  # in one process, as the stages of a run
        out = run("sft", folder=folder, report_to="wandb")
        assert wandb.run is None
        (file,) = (out / "stages/st/logs").rglob("offline-run-*/run-*.wandb")
        written = content(file)
        assert written.count(b"train/loss") >= 4  # a record for each step
        assert b"tracked" in written


def test_report_to_wandb_keeps_a_run_that_was_open(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()  # it has read the environment if an earlier test of the process used it
    with wandb.init(project="of a hook", dir=tmp_path) as opened:
        run("sft", report_to="wandb")
        assert wandb.run is opened


def test_log_completions_are_there_after_the_stage(run: Run) -> None:
    out = run("grpo", log_completions=True, num_completions_to_print=0)
    names = sorted(path.name for path in (out / "stages/st/logs/completions").iterdir())
    assert names[:2] == ["completions_00001.parquet", "completions_00002.parquet"]


def test_run_without_trackers_leaves_no_folder_of_logs(run: Run) -> None:
    assert not (run("sft") / "stages/st/logs").exists()


def test_trackers_get_the_names_of_the_manifest_and_the_stage(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl.trainer.sft_trainer import SFTTrainer

    seen: dict[str, Any] = {}
    train = SFTTrainer.train

    def note(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.update(run_name=self.args.run_name, project=self.args.project)
        seen.update(
            {name: os.environ[name] for name in ("WANDB_DIR", "WANDB_PROJECT", "MLFLOW_TRACKING_URI")}
        )
        return train(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "train", note)
    out = run("sft")
    assert seen["run_name"] == "tracked/st"
    assert seen["project"] == seen["WANDB_PROJECT"] == "tracked"
    assert seen["WANDB_DIR"] == str((out / "stages/st/logs").resolve())
    assert str(out / "stages/st/logs") in seen["MLFLOW_TRACKING_URI"]
    assert "WANDB_DIR" not in os.environ


def test_options_that_are_not_inputs_changed_in_the_middle_change_nothing(run: Run) -> None:
    whole = run("grpo", folder="whole")
    with pytest.raises(RunInterruptedError, match="a checkpoint of step 2 of 4 is saved"):
        run("grpo", Signal(2))
    resumed = run(
        "grpo",
        save_steps=1,
        save_total_limit=None,
        logging_steps=3,
        report_to="tensorboard",
        log_completions=True,
        num_completions_to_print=0,
        dataloader_num_workers=1,
    )
    assert same_weights(resumed, whole)
    assert run("grpo") == resumed


def test_longer_training_with_a_constant_schedule_ends_as_one_of_that_length(run: Run) -> None:
    whole = run("sft", folder="whole", max_steps=7)
    run("sft", max_steps=4)
    longer = run("sft", max_steps=7)
    assert same_weights(longer, whole)
    assert sorted(read_events(longer / "events.jsonl").progress["st"]) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("use", ["grpo", "sft"])
def test_training_killed_after_its_last_checkpoint_makes_no_further_step(run: Run, use: str) -> None:
    whole = run(use, folder="whole")
    out = run(use)
    (out / "stages/st/result.json").unlink()
    shutil.rmtree(out / "stages/st/output")
    assert same_weights(run(use), whole)
    results = [json.loads((folder / "stages/st/result.json").read_text()) for folder in (out, whole)]
    assert results[0]["metrics"]["steps"] == results[1]["metrics"]["steps"] == 4


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (2, ["checkpoint-4"]),
        (1, ["checkpoint-4"]),
        (100, ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]),
        (None, ["checkpoint-1", "checkpoint-2", "checkpoint-3", "checkpoint-4"]),
    ],
)
def test_save_total_limit_is_the_number_of_checkpoints_kept(
    run: Run, limit: int | None, kept: list[str]
) -> None:
    assert checkpoints(run("sft", save_steps=1, save_total_limit=limit)) == kept


def test_jit_checkpoint_and_sigterm_interrupts_and_resumes(run: Run) -> None:
    whole = run("grpo", folder="whole")
    with pytest.raises(RunInterruptedError):
        run("grpo", Signal(1), enable_jit_checkpoint=True)
    assert not (whole.with_name("out") / "stages/st/result.json").exists()
    assert same_weights(run("grpo", enable_jit_checkpoint=True), whole)


@pytest.mark.parametrize("use", ["grpo", "sft"])
def test_hub_token_reaches_no_file(run: Run, use: str) -> None:
    out = run(use, hub_token="hf-tell-nobody", save_steps=1, report_to="tensorboard")
    for path in out.rglob("*"):
        if path.is_file():
            assert b"hf-tell-nobody" not in path.read_bytes(), path
    assert not list(out.rglob("training_args.bin"))


@pytest.mark.parametrize("option", ["eval_strategy", "load_best_model_at_end", "eval_on_start"])
def test_evaluation_while_training_is_refused_with_what_to_do(run: Run, option: str) -> None:
    with pytest.raises(
        ManifestError, match=r"give the stage the key 'evaluation' next to its 'data'.*split: heldout"
    ):
        run("sft", **{option: "steps"})


LETTERS = {"rewards": [{"use": "./kill_plugins.py:letters"}]}


def evaluated(run: Path) -> dict[int, float]:
    """Return the rewards of the evaluations, by step."""
    progress = read_events(run / "events.jsonl").progress["st"]
    return {
        step: metrics["evaluation/reward"]
        for step, metrics in progress.items()
        if "evaluation/reward" in metrics
    }


@pytest.mark.parametrize("use", ["grpo", "sft", "dpo", "distill"])
def test_run_with_evaluation_trains_as_one_without(run: Run, use: str) -> None:
    options = {"max_completion_length": 4}
    with_it = run(use, folder="with", evaluation={"every": 3, **LETTERS}, **options)
    assert list(evaluated(with_it)) == [0, 3, 4]
    assert same_weights(with_it, run(use, folder="without", **options))


def test_evaluation_resumes_after_a_signal_as_if_unbroken(run: Run) -> None:
    evaluation = {"every": 2, "best": "letters", "keep_checkpoints": True, **LETTERS}
    whole = run("grpo", folder="whole", evaluation=evaluation)
    for step in (1, 2):
        with pytest.raises(RunInterruptedError):
            run("grpo", Signal(step), folder=f"stopped-{step}", evaluation=evaluation)
        stopped = run("grpo", folder=f"stopped-{step}", evaluation=evaluation)
        assert evaluated(stopped) == evaluated(whole)
        assert same_weights(stopped, whole)
    kept = whole / "stages/st/output/checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["step-0", "step-2", "step-4"]


def test_output_is_the_best_model_and_patience_ends_training(run: Run) -> None:
    best = {"every": 1, "best": "first", "patience": 2}
    first = [{"use": "./kill_plugins.py:letters", "name": "first", "weight": 0, "params": {}}]
    out = run("grpo", evaluation={**best, "rewards": first}, learning_rate=0.0, save_steps=1)
    result = json.loads((out / "stages/st/result.json").read_text())["metrics"]
    assert (result["steps"], result["evaluation/step"]) == (2, 0)  # equal values: the first one is the best
    assert checkpoints(out)


def test_dpo_whose_output_is_an_earlier_model_has_no_metrics_of_the_last(
    run: Run, small_model: Model
) -> None:
    limit = {"best": "reward", "max_drops": {"reward": 0.0}}
    short = {"max_completion_length": 4, "max_steps": 1, "heldout_pairs": 0.3}
    frozen = run("dpo", evaluation={"every": 1, **limit, **LETTERS}, learning_rate=0.0, **short)
    result = json.loads((frozen / "stages/st/result.json").read_text())["metrics"]
    assert result["evaluation/step"] == 0  # of equal models, the first
    assert "heldout_accuracy" not in result
    own, output = (
        load_file(Path(path, "model.safetensors")) for path in (small_model.path, frozen / "stages/st/output")
    )
    assert all((own[name] == output[name]).all() for name in output)
    last = run("dpo", folder="last", evaluation={"every": 1, **LETTERS}, **short)
    result = json.loads((last / "stages/st/result.json").read_text())["metrics"]
    assert result["evaluation/step"] == 1
    assert 0 <= result["heldout_accuracy"] <= 1


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        ({"every": 2, "best": "leters"}, r"'best' names 'leters'.*letters"),
        ({"every": 2, "patience": 2}, r"'patience' needs 'best'"),
        ({"every": 2, "max_drops": {"reward": 0}}, r"'max_drops' needs 'best'"),
        (
            {"every": 2, "best": "reward", "max_drops": {"leters": 0}},
            r"'max_drops' names 'leters'.*'letters'",
        ),
        (
            {"every": 2, "best": "reward", "max_drops": {"letters": -1}},
            r"max_drops.letters' is -1: give a number of at least 0",
        ),
        ({"every": 0}, r"'stages.0.evaluation.every' is 0"),
        ({"evry": 2}, r"unknown key 'evry'"),
    ],
)
def test_wrong_evaluation_is_a_mistake_of_the_manifest(
    run: Run, evaluation: dict[str, Any], said: str
) -> None:
    with pytest.raises(ManifestError, match=said):
        run("grpo", evaluation=evaluation)


def test_evaluation_of_a_stage_that_has_none_is_refused(run: Run) -> None:
    with pytest.raises(ManifestError, match="does not evaluate while it trains"):
        run("reward_model", evaluation={"every": 2, **LETTERS})
