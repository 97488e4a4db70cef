"""Checkpoints from which a trainer resumes exactly, and that a kill at any moment cannot damage.

A checkpoint is valid once its manifest exists: the sizes and digests of its files, written after all of them are on
the disk. Checkpoints are ordered by their step.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.utils.data import RandomSampler, Sampler, SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from guerdon.errors import ParamsError, StageFailedError
from guerdon.files import replaced
from guerdon.training import transformers_seam, trl_seam
from guerdon.training.data import ResumableSampler
from guerdon.training.options import KEPT_CHECKPOINTS
from guerdon.training.trl_seam import order_obstacle

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

logger = logging.getLogger(__name__)

MANIFEST = "complete"
"""The file whose presence makes a checkpoint valid."""
_REFERENCE = "reference.pt"
_ARGUMENTS = "training_args.bin"


class ResumableTrainer(_Trainer):
    """A mixin for trainers of transformers and TRL. A stopped training resumes as if it had not stopped.

    Checkpoints can be saved after any step. ``save_total_limit`` is the number that is kept, by step; ``None`` keeps
    all.

    Raises:
        ParamsError: The state of the training cannot be saved.
    """

    kept_attributes: tuple[str, ...] = ()
    """The names of the class's own attributes that hold state between two steps."""

    _metrics: dict[str, Any]
    _logs: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keeps, self.args.save_total_limit = self.args.save_total_limit, None
        self._resumed_from: Path | None = None
        if self._synced_reference() is not None and self.is_deepspeed_enabled and zero_stage(self) == 3:
            raise ParamsError(
                "sync_ref_model is set, and DeepSpeed's ZeRO-3 spreads the reference model over the processes, so it "
                "cannot be saved for a resume. Use FSDP or ZeRO-2, or set sync_ref_model to false."
            )
        self.add_callback(_Restore(self._restore))

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        self._resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        trained = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.is_finished and self.args.should_save and self._keeps == KEPT_CHECKPOINTS:
            rotate(Path(str(self.args.output_dir)), 1)  # a longer training starts from the last one
        return trained

    @property
    def is_finished(self) -> bool:
        """Return whether there is no further step."""
        return bool(self.state.global_step >= self.state.max_steps)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # A run that was killed after its last checkpoint has nothing left to do.
        if self.is_finished:
            self.control.should_training_stop = True
            return
        run_epoch: Any = super()._run_epoch
        run_epoch(*args, **kwargs)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        sampler: Sampler[int] | None = super()._get_train_sampler(*args, **kwargs)
        # accelerate seeds the random one by epoch.
        if sampler is None or isinstance(sampler, RandomSampler | SequentialSampler | ResumableSampler):
            return sampler
        if (reason := order_obstacle(sampler)) is not None:
            logger.warning("a resumed training may take the prompts in another order: %s", reason)
            return sampler
        return ResumableSampler(sampler, self.args.seed, lambda: int(self.state.epoch or 0))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        super()._save_checkpoint(model, trial)
        torch.save(self._between_steps(), folder / _state_name(self.args.process_index))
        reference = self._synced_reference()
        if reference is not None:
            state = get_model_state_dict(reference, options=_WHOLE)
            if self.args.should_save:
                torch.save(state, folder / _REFERENCE)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            complete(folder)
            rotate(Path(str(self.args.output_dir)), self._keeps)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        # The options may hold tokens, and nothing reads the file.
        Path(output_dir or str(self.args.output_dir), _ARGUMENTS).unlink(missing_ok=True)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        loaded: Any = self.model if model is None else model
        dtypes = {name: weight.dtype for name, weight in loaded.named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        # peft loads adapters in float32, and TRL trains those on a quantized base in bfloat16.
        for name, weight in loaded.named_parameters():
            if weight.dtype != dtypes[name]:
                weight.data = weight.data.to(dtypes[name])

    def _synced_reference(self) -> Any:
        """Return the reference model if it changes in training."""
        return getattr(self, "ref_model", None) if getattr(self.args, "sync_ref_model", False) else None

    def _between_steps(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._kept_names() if hasattr(self, name)}
        if hasattr(self, "_metrics"):
            state["_metrics"] = {mode: dict(metrics) for mode, metrics in self._metrics.items()}
        if getattr(self, "log_completions", False):
            state["_logs"] = {
                name: {key: list(values) for key, values in kept.items()}
                if isinstance(kept, Mapping)
                else list(kept)
                for name, kept in self._logs.items()
            }
        return state

    def _kept_names(self) -> list[str]:
        members = (*transformers_seam.KEPT, *trl_seam.KEPT)
        return [*(member.name for member in members), *self.kept_attributes]

    def _restore(self) -> None:
        for problem in transformers_seam.lacking(self).values():
            logger.warning(
                "a resumed training may differ from an uninterrupted one: in this version of transformers, %s",
                problem,
            )
        if self._resumed_from is None:
            return
        path = self._resumed_from / _state_name(self.args.process_index)
        state = torch.load(path, map_location=self.args.device, weights_only=False)
        for mode, metrics in state.pop("_metrics", {}).items():
            self._metrics[mode].update(metrics)
        for name, kept in state.pop("_logs", {}).items():
            for key, values in kept.items() if isinstance(kept, Mapping) else [(None, kept)]:
                (self._logs[name] if key is None else self._logs[name][key]).extend(values)
        for name, value in state.items():
            setattr(self, name, value)
        reference = self._synced_reference()
        if reference is not None:
            weights = torch.load(self._resumed_from / _REFERENCE, map_location="cpu", weights_only=True)
            set_model_state_dict(reference, weights, options=_WHOLE)


_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def zero_stage(trainer: Any) -> int:
    """Return the stage of DeepSpeed's ZeRO, or 0 without DeepSpeed."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)


def _state_name(process: int) -> str:
    return f"between_steps_{process}.pt"


class _Restore(TrainerCallback):
    """Calls a function after the trainer's set-up, before its first step."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._function()


def complete(folder: Path) -> None:
    """Flush a checkpoint's files to the disk, then write the manifest that makes it valid."""
    manifest = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name != MANIFEST:
            _sync(path)
            manifest[str(path.relative_to(folder))] = {
                "size": path.stat().st_size,
                "sha256": _digest(path),
            }
    _sync(folder)
    with replaced(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _sync(folder)
    _sync(folder.parent)


def rotate(work: Path, keeps: int | None) -> None:
    """Delete all valid checkpoints except the newest ones, by step; ``None`` keeps all."""
    if keeps is None:
        return
    for checkpoint in whole_checkpoints(work)[max(keeps, 1) :]:
        # first, so that a killed deletion leaves no checkpoint that looks valid
        (checkpoint / MANIFEST).unlink()
        shutil.rmtree(checkpoint)


def newest_checkpoint(work: Path) -> Path | None:
    """Return the newest valid checkpoint of a trainer's folder, the same in all processes of a launch.

    Partly written checkpoints are deleted. Damaged checkpoints are deleted too, with a line in the log.

    Args:
        work: A trainer's output folder, which need not exist yet.
    """
    found: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            found[0] = _newest(work)
        except Exception as error:  # raised in all processes, because the others would wait
            found[1] = error
    if PartialState().num_processes > 1:
        broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    checkpoint: Path | None = found[0]
    return checkpoint


def _newest(work: Path) -> Path | None:
    whole = whole_checkpoints(work)
    for checkpoint in work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if checkpoint not in whole:
            shutil.rmtree(checkpoint, ignore_errors=True)
    while whole:
        newest = whole.pop(0)
        found = damage(newest)
        if found is None:
            return newest
        before = (
            f"{whole[0].name} is used" if whole else "none is left, so the stage starts from the beginning"
        )
        logger.warning("the checkpoint %s is damaged (%s) and is deleted; %s", newest, found, before)
        shutil.rmtree(newest)
    return None


def whole_checkpoints(work: Path) -> list[Path]:
    """Return the checkpoints that have a manifest, the newest first."""
    steps = {}
    for checkpoint in work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        step = checkpoint.name.rpartition("-")[2]
        if step.isdecimal() and (checkpoint / MANIFEST).exists():
            steps[int(step)] = checkpoint
    return [steps[step] for step in sorted(steps, reverse=True)]


def damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, or ``None``."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["size"]:
                return f"{name} has {path.stat().st_size} bytes, not {expected['size']}"
            if _digest(path) != expected["sha256"]:
                return f"{name} has other content than was saved"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"its list of files, {MANIFEST}, cannot be read"
    return None if manifest else f"its list of files, {MANIFEST}, is empty"


def check_finished(trainer: ResumableTrainer) -> None:
    """Raise if training ended before its last step.

    Raises:
        StageFailedError: Training ended early.
    """
    if not trainer.is_finished:
        raise StageFailedError(
            f"training ended at step {trainer.state.global_step} of {trainer.state.max_steps}, without being asked to. "
            "Run the same command to resume from the newest checkpoint."
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
