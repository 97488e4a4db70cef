"""Checkpoints that a kill at any moment cannot spoil: a checkpoint counts once its marker is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

_MARKER = "complete"


class CheckpointMarker(TrainerCallback):
    """Marks a checkpoint of a transformers Trainer as complete, after its last file is written.

    The trainer deletes old checkpoints before the marker of the new one is written, so it has to keep two:
    ``save_total_limit`` of 2 or more.
    """

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        PartialState().wait_for_everyone()  # each process saves its random state
        if state.is_world_process_zero:
            assert args.output_dir is not None
            folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
            (folder / _MARKER).touch()


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from; what a killed process left half-written is deleted.

    Args:
        folder: A trainer's output folder, which need not exist yet.
    """
    complete: dict[int, Path] = {}
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if (checkpoint / _MARKER).exists():
            complete[int(checkpoint.name.rpartition("-")[2])] = checkpoint
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)
    return complete[max(complete)] if complete else None
