"""TRL's GRPOTrainer with a rubric instead of its reward functions.

Everything else (accelerate, FSDP, DeepSpeed, PEFT, vLLM, checkpoints, trackers) is unchanged TRL code.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from accelerate.utils import gather, gather_object
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerState,
)
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig

from guerdon.errors import DataError, UsageError
from guerdon.grpo.advantages import (
    Step,
    objectives,
    objectives_advantages,
    parts_of,
    process_advantages,
    steps_of,
    token_of,
)
from guerdon.grpo.curriculum_trainer import CurriculumTrainer
from guerdon.grpo.dynamic_sampling import Group, Signal, signal_of
from guerdon.grpo.dynamic_trainer import rollout_of
from guerdon.grpo.early_rollouts import EarlyRolloutsTrainer
from guerdon.grpo.reward_matrix import by_column, group_metrics, judging_metrics, reward_row
from guerdon.grpo.tool_turns import ToolTurnsTrainer, tool_metrics, with_session
from guerdon.rubric import Entry, Rubric
from guerdon.rubric.entry import compares_groups
from guerdon.sampling.rollout_function import COLUMNS
from guerdon.tools import with_observation
from guerdon.training.data import check_fills_a_batch
from guerdon.training.evaluation import EvaluatingTrainer
from guerdon.training.together import raised_in_all
from guerdon.training.transformers_seam import forget_cpu_number
from guerdon.types import Judgement, Judgements, Rollout, Row

logger = logging.getLogger(__name__)


class LogRollouts(Protocol):
    """Takes judged rollouts, as :meth:`guerdon.StageContext.log_rollouts` does."""

    def __call__(
        self, step: int, rollouts: Sequence[Rollout], judgements: Sequence[Judgement], **extra: Sequence[Any]
    ) -> None: ...


class RubricGRPOTrainer(EarlyRolloutsTrainer, EvaluatingTrainer, ToolTurnsTrainer, CurriculumTrainer):
    """Trains by GRPO on the rewards of a rubric.

    Args:
        model: The policy.
        rubric: Judges the rollouts.
        args: TRL's configuration; the rubric sets ``reward_weights``.
        train_dataset: The data, from ``guerdon.training.data.rows_dataset``.
        processing_class: The model's tokenizer.
        log_rollouts: Takes the step and each batch of judged rollouts, on the main process.
        supervision: ``outcome``: a completion's tokens share one advantage. ``process``: the spans of scores give each
            token its own (DeepSeekMath, arXiv 2402.03300, section 4.1.3).
        metrics_by: The columns to break the metrics down by.
        fast_rollouts: Whether small models on CPU sample with ``guerdon.sampling.cpu_sampler`` if it supports them.
        callbacks: The run's callbacks.
        max_rounds: The most rounds of fresh prompts that replace groups of equal rewards; 0 for none.
        **kwargs: Other arguments of TRL's trainer, ``step_options``, ``curriculum``, and the stage's ``toolbox``.

    Raises:
        DataError: The data do not fill one batch of generations.
    """

    kept_attributes = ("fresh_prompts_passed", "curriculum_history")

    def __init__(
        self,
        model: PreTrainedModel,
        rubric: Rubric,
        args: GRPOConfig,
        train_dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        log_rollouts: LogRollouts | None = None,
        fast_rollouts: bool = True,
        supervision: Literal["outcome", "process"] = "outcome",
        metrics_by: Sequence[str] = (),
        callbacks: Sequence[TrainerCallback] = (),
        max_rounds: int = 0,
        **kwargs: Any,
    ) -> None:
        check_fills_a_batch(train_dataset, args, fresh=max_rounds > 0)
        forget_cpu_number(args)
        self._rubric = rubric
        self._log_rollouts = log_rollouts
        # another implementation of a rubric may have `score` alone
        entries: Sequence[Entry] = getattr(rubric, "entries", ())
        self._compares_groups = compares_groups(entries)
        self._retrying = {entry.name for entry in entries if entry.retries}
        self._process = supervision == "process"
        self._metrics_by = metrics_by
        self._reward_rows: list[list[float]] = []
        self._judged: list[float] = []
        self._judged_rollouts: list[tuple[Rollout, Judgement]] = []
        # the step of the latest rollouts, and the number of its groups so far
        self._groups_logged = (-1, 0)
        super().__init__(
            model=model,
            reward_funcs=[self._reward_function(number) for number in range(len(rubric.names))],
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            callbacks=list(callbacks),
            max_rounds=max_rounds,
            fast_rollouts=fast_rollouts,
            **kwargs,
        )
        if self._process:
            _check_process(self)
        if self._toolbox is not None and (problem := self._lacking.get("tools")):
            raise UsageError(
                f"this version of TRL cannot train with tools: {problem}. Install a version that guerdon supports."
            )
        self.remove_callback(PrinterCallback)  # it prints the metrics as dicts
        # Unjudged rollouts are counted and recorded. TRL would also print each such row with all its columns.
        logging.getLogger(grpo_trainer.__name__).addFilter(_not_of_unscored_rows)

    def _reward_function(self, number: int) -> Callable[..., list[float]]:
        """Return an entry of the rubric as TRL's reward function. The first one judges for all."""

        def judged(**batch: Any) -> list[float]:
            if number == 0:
                self._reward_rows = self._judge(**batch)
            return [row[number] for row in self._reward_rows]

        judged.__name__ = self._rubric.names[number]
        return judged

    def _judge(
        self,
        *,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        row: list[dict[str, Any]],
        trainer_state: TrainerState,
        log_metric: Callable[[str, float], None],
        rollout_columns: Sequence[Mapping[str, Any]] = (),
        **_: Any,
    ) -> list[list[float]]:
        """Judge this process's rollouts, and weight the rewards for this step."""
        step = trainer_state.global_step
        if self._filled is not None:
            rollouts = [one.rollout for one in self._filled]
            judgements = Judgements((one.judgement for one in self._filled), self._first_metrics)
            self._filled = None
        else:
            if rollout_columns:
                row = [{**one, **own} for one, own in zip(row, rollout_columns, strict=True)]
            rollouts = list(map(rollout_of, prompts, completions, row, completion_ids))
            if self._sessions:
                rollouts = list(map(with_session, rollouts, self._sessions))
            judgements = self._scored(rollouts, step)
        self._note_times(judgements)
        for name, value in [*judging_metrics(judgements, self._retrying), *judgements.metrics.items()]:
            log_metric(name, value)
        columns = [{**rollout.columns, "prompt": rollout.prompt} for rollout in rollouts]
        for name, value in by_column(columns, judgements, self._metrics_by):
            log_metric(name, value)
        weights = self._rubric.weights(step)
        self.reward_weights = torch.tensor([weights[name] for name in self._rubric.names])
        self._judged_rollouts = list(zip(rollouts, judgements, strict=True))
        self._judged = [
            math.nan if judgement.reward is None else judgement.reward for judgement in judgements
        ]
        return [reward_row(judgement, self._rubric.names) for judgement in judgements]

    def _scored(self, rollouts: Sequence[Rollout], step: int) -> Judgements:
        """Judge this process's rollouts. A group reward sees whole groups, which processes may share.

        A group that is spread over processes is judged by the process of its first rollout.
        """
        if not self._compares_groups:
            with raised_in_all():
                return self._rubric.score(rollouts, step)
        assert self.model is not None
        size = self.num_generations if self.model.training else self.num_generations_eval
        assert size is not None
        count = len(rollouts)
        gathered: list[Rollout] = gather_object(list(rollouts))
        own = range(self.accelerator.process_index * count, (self.accelerator.process_index + 1) * count)
        mine = [index for index in range(len(gathered)) if index - index % size in own]
        with raised_in_all():
            judged = self._rubric.score(
                [gathered[index] for index in mine], step, groups=[index // size for index in mine]
            )
        known = dict(gather_object(list(zip(mine, judged, strict=True))))
        return Judgements([known[index] for index in own], judged.metrics)

    def answer(self, rows: Sequence[Row], batch: int) -> list[Rollout]:
        """Sample one completion for each row, as in training, for an evaluation; the model is in evaluation mode.

        Args:
            rows: The rows, with their prompts.
            batch: The number of the batch, from which environments derive their seeds.
        """
        prompts = [row["prompt"] for row in rows]
        sessions = self._sessions
        self.num_generations_eval = 1  # the prompts are repeated already
        try:
            if self._toolbox is not None:
                keys = [("evaluation", batch, place) for place in range(len(rows))]
                with raised_in_all():
                    self._sessions = self._toolbox.open(rows, keys)
                prompts = [
                    with_observation(prompt, session.observation)
                    for prompt, session in zip(prompts, self._sessions, strict=True)
                ]
            made: Any = self._generate(prompts)
            _, completion_ids, _, completions, _, fields, *_ = made
            columns = fields.get(COLUMNS) or [{}] * len(rows)
            rollouts = [
                rollout_of(prompt, completion, {**row, **own}, ids)
                for prompt, completion, row, own, ids in zip(
                    prompts, completions, rows, columns, completion_ids, strict=True
                )
            ]
            if self._sessions and self._toolbox is not None:
                rollouts = list(map(with_session, rollouts, self._sessions))
        finally:
            self._sessions = sessions
            self._metrics["eval"].clear()  # the evaluation has metrics of its own
        return rollouts

    def _judged_once(self, rollouts: Sequence[Rollout]) -> Judgements:
        return self._scored(rollouts, self.state.global_step)

    def _signal(self, group: Group) -> Signal:
        scored = [one for one in group if one.judgement.reward is not None]
        judgements = [one.judgement for one in scored]
        columns: Sequence[Sequence[float]]
        if self._process:
            steps = [step for one in scored for step in self._steps(one.rollout, one.judgement)]
            columns = [[reward for _, reward in steps]]
        elif self.multi_objective_aggregation == "sum_then_normalize":
            columns = [[judgement.reward or 0.0 for judgement in judgements]]
        else:
            parts = sorted(parts_of(judgements))
            weights = self._objective_weights(parts)
            values = [objectives(judgement, self._rubric.names, parts) for judgement in judgements]
            columns = [
                column for column, weight in zip(zip(*values, strict=True), weights, strict=False) if weight
            ]
        return signal_of(len(scored), columns)

    def _objective_weights(self, parts: Sequence[tuple[str, str]]) -> list[float]:
        """Return this step's weight of each objective, in the order of ``objectives``."""
        split = {name for name, _ in parts}
        weight_of = self._rubric.weights(self.state.global_step)
        weights = [weight_of[name] for name in self._rubric.names if name not in split]
        return [*weights, *(weight_of[name] for name, _ in parts)]

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        matrix = super()._calculate_rewards(*args)
        # A group is constant by the rubric's reward, because another sum of its parts may round differently.
        self._rewards = gather(torch.tensor(self._judged, device=self.accelerator.device))
        return matrix

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self.model is not None
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        assert group_size is not None
        judged: list[tuple[Rollout, Judgement]] = gather_object(self._judged_rollouts)
        advantages = self._own_advantages([judgement for _, judgement in judged], group_size, output)
        if advantages is not None:
            first = self.accelerator.process_index * len(inputs)
            output["advantages"] = advantages[first : first + len(inputs)].to(output["advantages"])
            means = advantages if advantages.dim() == 1 else advantages.sum(1) / _lengths(judged)
            _replace_last(self._logs["advantages"], means.tolist())
        rewards = [math.nan if judgement.reward is None else judgement.reward for _, judgement in judged]
        metrics = group_metrics(rewards, group_size)
        if self._toolbox is not None:
            metrics |= tool_metrics(rollout for rollout, _ in judged)
        if mode == "train":
            metrics |= self._curriculum_metrics(inputs, judged)
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)
        if mode == "train" and self._log_rollouts is not None:
            with raised_in_all():
                if self.accelerator.is_main_process:
                    self._report(judged, list(self._logs["advantages"])[-len(judged) :], group_size)
        return output

    def _by_group(self) -> bool:
        return super()._by_group() and not self._process

    def _own_advantages(
        self, judgements: Sequence[Judgement], group_size: int, output: dict[str, Any]
    ) -> torch.Tensor | None:
        """Return the advantages of all processes' rollouts that TRL's do not express, or ``None`` for TRL's own.

        Args:
            judgements: The judgements of all processes' rollouts.
            group_size: Rollouts in a group.
            output: This process's batch.
        """
        if self._process:
            steps: list[list[Step]] = gather_object([self._steps(*one) for one in self._judged_rollouts])
            args: Any = self.args
            length = output["completion_ids"].shape[1]
            own = self.accelerator.process_index * len(self._judged_rollouts)
            mine = range(own, own + len(self._judged_rollouts))
            longest = max([length, *(end + 1 for one in steps for end, _ in one)])
            advantages = process_advantages(steps, group_size, longest, args.scale_rewards)
            assert all(end < length for row in mine for end, _ in steps[row])
            return advantages[:, :length]
        parts = sorted(parts_of(judgements))
        if not parts or self.multi_objective_aggregation == "sum_then_normalize":
            return None
        values = [objectives(judgement, self._rubric.names, parts) for judgement in judgements]
        weights = self._objective_weights(parts)
        return objectives_advantages(torch.tensor(values), torch.tensor(weights), group_size)

    def _steps(self, rollout: Rollout, judgement: Judgement) -> list[Step]:
        """Return a rollout's steps for process supervision.

        Raises:
            DataError: A span does not belong to the tokens' text.
        """
        ids = rollout.completion_ids

        def decode(tokens: Sequence[int]) -> str:
            return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

        if (
            any(verdict.score.spans for verdict in judgement.verdicts.values())
            and decode(ids) != rollout.text
        ):
            raise DataError(
                f"the tokens of a completion say {decode(ids)[:60]!r}, and its text is {rollout.text[:60]!r}, so the "
                "places of its spans are unknown. Use supervision: outcome for conversations whose text is changed."
            )
        return steps_of(judgement, len(ids), lambda end: token_of(end, ids, decode))

    def _report(
        self, judged: Sequence[tuple[Rollout, Judgement]], advantages: Sequence[float], group_size: int
    ) -> None:
        assert self._log_rollouts is not None
        # the step that trains on them, with the same count as the metrics
        step = self.state.global_step + 1
        first = self._groups_logged[1] if self._groups_logged[0] == step else 0
        self._groups_logged = (step, first + len(judged) // group_size)
        rollouts, judgements = zip(*judged, strict=True)
        groups = [first + number // group_size for number in range(len(judged))]
        self._log_rollouts(step, rollouts, judgements, group=groups, advantage=advantages)


def _check_process(trainer: RubricGRPOTrainer) -> None:
    """Raise for options that process supervision cannot be combined with.

    Raises:
        UsageError: There is one.
    """
    if trainer.tools:
        raise UsageError(
            "supervision: process cannot be combined with tools, whose text is part of the completion's tokens."
        )
    if trainer.multi_objective_aggregation != "sum_then_normalize":
        raise UsageError(
            "supervision: process cannot be combined with multi_objective_aggregation: normalize_then_sum."
        )


def _lengths(judged: Sequence[tuple[Rollout, Judgement]]) -> torch.Tensor:
    return torch.tensor([max(1, len(rollout.completion_ids)) for rollout, _ in judged])


def _replace_last(values: Any, new: Sequence[float]) -> None:
    """Replace the last values of a list or a deque."""
    for _ in new:
        values.pop()
    values.extend(new)


def _not_of_unscored_rows(entry: logging.LogRecord) -> bool:
    return not str(entry.msg).startswith("All reward functions returned None")
