from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from guerdon.errors import StageFailedError
from guerdon.training.checkpoints import ResumableTrainer, check_finished, complete, newest_checkpoint, rotate

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves a checkpoint of two files."""

    def save_step(step: int, *, whole: bool = True) -> Path:
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "shards").mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"weights" * step)
        (folder / "shards/0.bin").write_bytes(b"optimizer" * step)
        if whole:
            complete(folder)
        return folder

    return save_step


def test_newest_checkpoint_of_no_folder_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_newest_checkpoint_is_the_one_of_the_highest_step_whatever_the_clock_says(
    tmp_path: Path, save: Save
) -> None:
    newest, _ = save(10), save(9)
    os.utime(newest, (0, 0))
    assert newest_checkpoint(tmp_path) == newest


def test_newest_checkpoint_deletes_half_written_ones(tmp_path: Path, save: Save) -> None:
    whole, half = save(2), save(4, whole=False)
    assert newest_checkpoint(tmp_path) == whole
    assert not half.exists()


def truncate(checkpoint: Path) -> None:
    os.truncate(checkpoint / "model.bin", 3)


def flip(checkpoint: Path) -> None:
    (checkpoint / "shards/0.bin").write_bytes(b"\0" * (checkpoint / "shards/0.bin").stat().st_size)


def lose(checkpoint: Path) -> None:
    (checkpoint / "model.bin").unlink()


def tear_manifest(checkpoint: Path) -> None:
    os.truncate(checkpoint / "complete", 10)


def empty_manifest(checkpoint: Path) -> None:
    os.truncate(checkpoint / "complete", 0)


def other_manifest(checkpoint: Path) -> None:
    (checkpoint / "complete").write_text(json.dumps(["model.bin"]))


@pytest.mark.parametrize("damage", [truncate, flip, lose, tear_manifest, empty_manifest, other_manifest])
def test_newest_checkpoint_that_is_damaged_gives_way_to_the_one_before_with_one_line(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    before, newest = save(2), save(4)
    damage(newest)
    assert newest_checkpoint(tmp_path) == before
    assert len(caplog.records) == 1
    assert f"the checkpoint {newest} is damaged" in caplog.text
    assert "checkpoint-2 is used" in caplog.text


def test_newest_checkpoint_of_damaged_ones_only_is_none_and_says_so(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    truncate(save(2))
    assert newest_checkpoint(tmp_path) is None
    assert "the stage starts from the beginning" in caplog.text


@pytest.mark.parametrize(("keeps", "steps"), [(1, {10}), (2, {9, 10}), (100, {2, 9, 10}), (None, {2, 9, 10})])
def test_rotate_keeps_the_newest_by_step_whatever_the_clock_says(
    tmp_path: Path, save: Save, keeps: int | None, steps: set[int]
) -> None:
    for number, step in enumerate((10, 9, 2)):
        os.utime(save(step), (number, number))
    rotate(tmp_path, keeps)
    assert {int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()} == steps


def test_rotate_killed_midway_leaves_none_that_seems_whole(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(2), save(4)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate(tmp_path, 1)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert not (tmp_path / "checkpoint-2").exists()


def test_check_finished_of_a_training_that_ended_early_raises() -> None:
    from transformers import TrainerState

    class Ended(ResumableTrainer):
        def __init__(self, step: int) -> None:
            self.state = TrainerState(global_step=step, max_steps=4)

    check_finished(Ended(4))
    with pytest.raises(StageFailedError, match="ended at step 3 of 4"):
        check_finished(Ended(3))
