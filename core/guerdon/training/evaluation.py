"""Evaluate a model on held-out prompts while it trains, keep the best one, and stop early.

Every decision follows from the trainer's log, which each checkpoint holds. So a resumed training decides the same.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from guerdon.errors import StageFailedError
from guerdon.rubric import Rubric, groups_for
from guerdon.stage import Evaluation
from guerdon.training import checkpoints
from guerdon.training.checkpoints import ResumableTrainer
from guerdon.training.randomness import own_random_state
from guerdon.training.together import raised_in_all
from guerdon.types import Judgement, Outcome, Rollout, Row

__all__ = [
    "PREFIX",
    "Choice",
    "EvaluatingTrainer",
    "Evaluator",
    "batches_of",
    "evaluations",
    "measured",
]

logger = logging.getLogger(__name__)

PREFIX = "evaluation/"
"""The start of the names of an evaluation's metrics."""

Log = Sequence[Mapping[str, Any]]
"""What a trainer logged, in order: metrics with their ``step``."""

_ROUNDING = 1e-9
"""Differences of means up to this are errors of rounding."""


@dataclass(frozen=True)
class Choice:
    """How the best model is chosen among the evaluated ones."""

    metric: str
    """The metric with the highest value. An evaluation without it, because every score failed, does not count."""
    max_drops: Mapping[str, float] = field(default_factory=dict)
    """By metric, how far it may fall below its first value. An evaluation that lacks one of them does not qualify."""

    def best_step(self, log: Log) -> int | None:
        """Return the step of the best model, the first of equal ones; ``None`` if no evaluation qualifies."""
        known = evaluations(log)
        floors = {
            name: next(metrics[name] for _, metrics in known if name in metrics) - drop - _ROUNDING
            for name, drop in self.max_drops.items()
            if any(name in metrics for _, metrics in known)
        }
        qualified = [
            (metrics[self.metric], -step)
            for step, metrics in known
            if self.metric in metrics
            and all(name in metrics and metrics[name] >= floors[name] for name in self.max_drops)
        ]
        return -max(qualified)[1] if qualified else None

    def is_over(self, log: Log, patience: int) -> bool:
        """Return whether the best model is followed by ``patience`` evaluations."""
        best = self.best_step(log)
        if best is None:
            return False
        return sum(step > best and self.metric in metrics for step, metrics in evaluations(log)) >= patience


@dataclass(frozen=True)
class Evaluator:
    """What an evaluation needs in addition to the trainer."""

    settings: Evaluation
    rows: Sequence[Row]
    rubric: Rubric
    complete: Callable[[Sequence[Row], int], Sequence[Rollout | None]]
    """Sample one completion for each row of a batch; ``None`` for a prompt that the model does not take.

    It gets the rows and the number of the batch, and draws from torch's generators, which are seeded before.
    """
    batch_size: int
    """The number of completions that a process samples together."""
    save: Callable[[Path], None]
    """Save the model and its tokenizer in a folder. All processes call it, and training continues after it."""
    seed: int
    metrics_by: Sequence[str] = ()
    """The columns to break the metrics down by."""

    @property
    def choice(self) -> Choice | None:
        """Return the rule that chooses the output; ``None`` for the last model."""
        best = self.settings.best
        if best is None:
            return None
        drops = {self._metric(name): drop for name, drop in self.settings.max_drops.items()}
        return Choice(self._metric(best), drops)

    def _metric(self, name: str) -> str:
        return f"{PREFIX}rewards/{name}/mean" if name in self.rubric.names else f"{PREFIX}{name}"


class EvaluatingTrainer(ResumableTrainer):
    """A mixin for trainers of transformers and TRL whose model is evaluated while it trains.

    An evaluation draws from a random state of its own, so training is the same with and without it. Its completions
    depend on the weights and the seed alone: not on the step, the number of processes, or a resume.
    """

    _evaluator: Evaluator | None = None
    _postponed: Callable[[], bool]

    def evaluate_by(self, evaluator: Evaluator, postponed: Callable[[], bool] = lambda: False) -> None:
        """Evaluate before the first step, every few steps, and after the last one.

        Args:
            evaluator: How to evaluate.
            postponed: Returns whether training is about to be interrupted. The evaluation then follows the resume.
        """
        self._evaluator, self._postponed = evaluator, postponed
        self.args.eval_on_start = True
        self.add_callback(_EvaluateWhenDue(self._is_due))

    @property
    def is_finished(self) -> bool:
        """Return whether there is no further step, because all are done or the evaluation stopped training."""
        return super().is_finished or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Return whether the evaluations so far stop training."""
        evaluator = self._evaluator
        if evaluator is None or evaluator.choice is None or evaluator.settings.patience is None:
            return False
        return evaluator.choice.is_over(self.state.log_history, evaluator.settings.patience)

    def best_step(self) -> int | None:
        """Return the step of the best model; ``None`` if the last model is the output."""
        choice = self._evaluator and self._evaluator.choice
        return choice.best_step(self.state.log_history) if choice else None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the model if it is due, log the metrics, and keep the model if it is the best so far."""
        evaluator = self._evaluator
        if evaluator is None:
            plain: dict[str, float] = super().evaluate(*args, **kwargs)
            return plain
        self.control.should_evaluate = False
        step = self.state.global_step
        if not self._is_due(step, self.state.max_steps) or self._postponed():
            return {}
        metrics = self._measure(evaluator)
        # TRL's own ``log`` would add metrics of rollouts that are not logged yet.
        Trainer.log(self, {f"{PREFIX}{name}": value for name, value in metrics.items()})
        if evaluator.settings.keep_checkpoints or self.best_step() == step:
            self._keep(evaluator, step)
        if self.stopped_early:
            self.control.should_save = self.control.should_training_stop = True
            if self.is_world_process_zero():
                logger.warning(
                    "training stops at step %d of %d: no model was better than that of step %s, in %s evaluations",
                    step, self.state.max_steps, self.best_step(), evaluator.settings.patience,
                )  # fmt: skip
        return metrics

    def copy_kept(self, output: Path) -> None:
        """Copy the best model to a folder, and the others to its ``checkpoints`` if they are kept.

        Raises:
            StageFailedError: A kept model is damaged.
        """
        assert self._evaluator is not None
        if not self.is_world_process_zero():
            return
        kept = {
            output / "checkpoints" / f"step-{step}": step for step, _ in evaluations(self.state.log_history)
        }
        if not self._evaluator.settings.keep_checkpoints:
            kept = {}
        if (best := self.best_step()) is not None:
            kept[output] = best
        if best == 0:
            logger.warning("the output is the model before the first step: no evaluated one is better")
        if best is None and (choice := self._evaluator.choice) is not None:
            needed = ", ".join(sorted({choice.metric, *choice.max_drops}))
            logger.warning("the output is the last model: no evaluation has scores of all of %s", needed)
        for target, step in kept.items():
            folder = self._kept(step)
            if (damage := checkpoints.damage(folder)) is not None:
                raise StageFailedError(
                    f"the evaluated model {folder} is damaged ({damage}). Delete {folder.parent.parent} to train again."
                )
            shutil.copytree(
                folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(checkpoints.MANIFEST)
            )

    def _is_due(self, step: int, total: int) -> bool:
        assert self._evaluator is not None
        due = step % self._evaluator.settings.every == 0 or step >= total
        return due and all(known != step for known, _ in evaluations(self.state.log_history))

    def _measure(self, evaluator: Evaluator) -> dict[str, float]:
        model: Any = self.model_wrapped if self.model_wrapped is not None else self.model
        assert self.model is not None
        trains = self.model.training
        with own_random_state(self.args.device):
            model.eval()
            try:
                judged = self._judge_answers(evaluator)
            finally:
                model.train(trains)
        return measured(judged, evaluator.metrics_by)

    def _judge_answers(self, evaluator: Evaluator) -> list[tuple[Rollout, Judgement]]:
        """Answer and judge the rows, each process its batches, and return the rollouts of all in the rows' order."""
        count = evaluator.settings.num_generations
        batches, size = batches_of(len(evaluator.rows), max(1, evaluator.batch_size // count))
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine: dict[int, Rollout] = {}
        for start in range(0, batches, processes):
            # Sharded models need all processes at once, so a process without a batch repeats the last one.
            number = min(start + process, batches - 1)
            places = [(number * size + place) % len(evaluator.rows) for place in range(size)]
            samples = [place for place in places for _ in range(count)]
            torch.manual_seed(_seed(evaluator.seed, number))
            rollouts = evaluator.complete([evaluator.rows[place] for place in samples], number)
            for place, rollout in enumerate(rollouts):
                own = start + process < batches and number * size + place // count < len(evaluator.rows)
                if own and rollout is not None:
                    mine[number * size * count + place] = rollout
        with raised_in_all():
            judgements = evaluator.rubric.score(
                list(mine.values()),
                self.state.global_step,
                **groups_for(evaluator.rubric, [place // count for place in mine]),
            )
        known = gather_object(list(zip(mine, mine.values(), judgements, strict=True)))
        return [(rollout, judgement) for _, rollout, judgement in sorted(known, key=lambda one: one[0])]

    def _keep(self, evaluator: Evaluator, step: int) -> None:
        folder = self._kept(step)
        if self.is_world_process_zero():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        evaluator.save(folder)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            checkpoints.complete(folder)

    def _kept(self, step: int) -> Path:
        return Path(str(self.args.output_dir), "evaluated", f"step-{step}")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        evaluator = self._evaluator
        if evaluator is None or evaluator.settings.keep_checkpoints or not self.args.should_save:
            return
        needed = {self._kept(step) for step in self._needed(evaluator)}
        for folder in self._kept(0).parent.glob("step-*"):
            if folder not in needed:
                shutil.rmtree(folder)

    def _needed(self, evaluator: Evaluator) -> set[int]:
        """Return the steps of the models that a training from any kept checkpoint calls the best."""
        found: set[int] = set()
        choice = evaluator.choice
        for checkpoint in checkpoints.whole_checkpoints(Path(str(self.args.output_dir))):
            upto = int(checkpoint.name.rpartition("-")[2])
            log = [entry for entry in self.state.log_history if entry["step"] <= upto]
            best = choice.best_step(log) if choice is not None else None
            found |= set() if best is None else {best}
        return found


class _EvaluateWhenDue(TrainerCallback):
    def __init__(self, is_due: Callable[[int, int], bool]) -> None:
        self._is_due = is_due

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_evaluate = self._is_due(state.global_step, state.max_steps)


def batches_of(rows: int, most: int) -> tuple[int, int]:
    """Return the number of batches, and the size that all of them have; the last one may repeat the first rows.

    Args:
        rows: The number of rows.
        most: The largest size of a batch.
    """
    batches = math.ceil(rows / most)
    return batches, math.ceil(rows / batches)


def measured(judged: Sequence[tuple[Rollout, Judgement]], metrics_by: Sequence[str] = ()) -> dict[str, float]:
    """Return the means over rollouts: the reward, each entry's value and failures, the length in tokens.

    An entry also has the standard deviation and the count of its values.

    Args:
        judged: The rollouts with their judgements.
        metrics_by: The columns for whose values the means are also returned, as ``task=math/reward``.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for rollout, judgement in judged:
        own: list[tuple[str, float]] = []
        if judgement.reward is not None:
            own.append(("reward", judgement.reward))
        for name, verdict in judgement.verdicts.items():
            own.append((f"rewards/{name}/failure_rate", float(verdict.score.outcome is Outcome.FAILED)))
            if verdict.score.value is not None:
                own.append((f"rewards/{name}/mean", verdict.score.value))
        own.append(("completions/mean_length", float(len(rollout.completion_ids))))
        columns = {**rollout.columns, "prompt": rollout.prompt}
        for prefix in ("", *(f"{column}={columns.get(column)}/" for column in metrics_by)):
            for name, value in own:
                values[f"{prefix}{name}"].append(value)
    metrics: dict[str, float] = {}
    for name, numbers in values.items():
        metrics[name] = mean = math.fsum(numbers) / len(numbers)
        if name.startswith("rewards/") and name.endswith("/mean"):
            squares = math.fsum((number - mean) ** 2 for number in numbers)
            metrics[f"{name.removesuffix('mean')}std"] = math.sqrt(squares / len(numbers))
            metrics[f"{name.removesuffix('mean')}count"] = float(len(numbers))
    return metrics


def evaluations(log: Log) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the step and the metrics of each evaluation in a log."""
    return [(entry["step"], entry) for entry in log if any(name.startswith(PREFIX) for name in entry)]


def _seed(seed: int, batch: int) -> int:
    return int.from_bytes(hashlib.sha256(f"evaluation {seed} {batch}".encode()).digest()[:4]) >> 1
