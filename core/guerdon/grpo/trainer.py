"""TRL's GRPOTrainer with a rubric in place of its reward functions.

Everything else (accelerate, FSDP, DeepSpeed, PEFT, vLLM, checkpoints, trackers) is TRL's and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from guerdon.errors import DataError, GuerdonError
from guerdon.grpo.checkpoints import CheckpointMarker
from guerdon.grpo.data import ResumableSampler
from guerdon.grpo.records import group_metrics, judging_metrics, record, reward_row
from guerdon.rubric import Rubric
from guerdon.types import Judgement, Rollout

LogRollouts = Callable[[int, Sequence[Mapping[str, Any]]], None]


class RubricGRPOTrainer(GRPOTrainer):
    """Trains by GRPO on the rewards of a rubric.

    Args:
        model: The policy.
        rubric: Judges the rollouts.
        args: TRL's configuration; ``reward_weights`` is the rubric's.
        train_dataset: From :func:`guerdon.grpo.rows_dataset`.
        processing_class: The model's tokenizer.
        log_rollouts: Takes the step and the records of each batch of rollouts, on the main process.
        callbacks: Besides the one that marks checkpoints.
        **kwargs: What else TRL's trainer takes.

    Raises:
        DataError: The data do not fill one batch of generations.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rubric: Rubric,
        args: GRPOConfig,
        train_dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        log_rollouts: LogRollouts | None = None,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        _check_size(train_dataset, args)
        self._rubric = rubric
        self._log_rollouts = log_rollouts
        self._records: list[dict[str, Any]] = []
        self._groups_logged = (-1, 0)  # the step of the latest records, and the groups that it has so far
        super().__init__(
            model=model,
            reward_funcs=[_named(name) for name in rubric.names],
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            callbacks=[CheckpointMarker(), *callbacks],
            **kwargs,
        )
        self.remove_callback(PrinterCallback)  # it prints the metrics as dicts

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler[int]:
        sampler = super()._get_train_sampler(dataset)
        assert isinstance(sampler, RepeatSampler)
        return ResumableSampler(sampler, self.args.seed, lambda: int(self.state.epoch or 0))

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        step = self.state.global_step
        rollouts = [
            Rollout(prompt, completion, {k: v for k, v in row["row"].items() if k != "prompt"}, ids)
            for prompt, completion, row, ids in zip(
                prompts, completions, inputs, completion_ids_list, strict=True
            )
        ]
        judgements = self._judge(rollouts, step)
        for name, value in judging_metrics(judgements):
            self._log_metric(name, value)
        weights = self._rubric.weights(step)
        self.reward_weights = torch.tensor([weights[name] for name in self._rubric.names])
        self._records = [record(*pair) for pair in zip(rollouts, judgements, strict=True)]
        rows = [reward_row(judgement, self._rubric.names) for judgement in judgements]
        matrix: torch.Tensor = gather(torch.tensor(rows, device=self.accelerator.device))
        return matrix

    def _judge(self, rollouts: list[Rollout], step: int) -> list[Judgement]:
        """Judge this process's rollouts; an error in any process is raised in all, or the others would wait."""
        judgements: list[Judgement] = []
        error: GuerdonError | None = None
        try:
            judgements = self._rubric.score(rollouts, step)
        except GuerdonError as raised:
            error = raised
        for raised_anywhere in gather_object([error]):
            if raised_anywhere is not None:
                raise raised_anywhere
        return judgements

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self.model is not None
        mode = "train" if self.model.training else "eval"
        group_size = self.num_generations if mode == "train" else self.num_generations_eval
        assert group_size is not None
        records = gather_object(self._records)
        rewards = [float("nan") if r["reward"] is None else r["reward"] for r in records]
        for name, value in group_metrics(rewards, group_size).items():
            self._metrics[mode][name].append(value)
        if mode == "train" and self._log_rollouts is not None and self.accelerator.is_main_process:
            self._report(records, list(self._logs["advantages"])[-len(records) :], group_size)
        return output

    def _report(self, records: list[dict[str, Any]], advantages: list[float], group_size: int) -> None:
        assert self._log_rollouts is not None
        step = self.state.global_step
        first = self._groups_logged[1] if self._groups_logged[0] == step else 0
        self._groups_logged = (step, first + len(records) // group_size)
        self._log_rollouts(
            step,
            [
                {"group": first + number // group_size, "advantage": advantage, **entry}
                for number, (entry, advantage) in enumerate(zip(records, advantages, strict=True))
            ],
        )


def _check_size(dataset: Dataset, args: GRPOConfig) -> None:
    assert args.generation_batch_size is not None  # TRL derives it
    assert args.num_generations is not None
    needed = args.generation_batch_size // args.num_generations
    if len(dataset) < needed:  # TRL drops a batch that is not full, and would train for no step at all
        raise DataError(
            f"there are {len(dataset)} prompts, and one batch of generations takes {needed} "
            f"(generation_batch_size {args.generation_batch_size} / num_generations {args.num_generations}). "
            "Give more rows, or lower per_device_train_batch_size or steps_per_generation."
        )


def _named(name: str) -> Callable[..., list[float | None]]:
    """A stand-in for TRL's list of reward functions, which it takes names and weights from."""

    def judged_by_the_rubric(**_: Any) -> list[float | None]:
        raise AssertionError("the rubric judges, not TRL's reward functions")

    judged_by_the_rubric.__name__ = name
    return judged_by_the_rubric
