"""TRL's GRPOTrainer with a rubric in place of its reward functions.

Everything else (accelerate, FSDP, DeepSpeed, PEFT, vLLM, checkpoints, trackers) is TRL's and stays so.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from guerdon.errors import DataError, GuerdonError
from guerdon.grpo.checkpoints import ResumableTrainer
from guerdon.grpo.fused_trainer import FusedGRPOTrainer
from guerdon.grpo.records import group_metrics, judging_metrics, reward_row
from guerdon.grpo.rollouts import Sampling, obstacle, sample
from guerdon.records import record
from guerdon.rubric import Rubric
from guerdon.types import Judgements, Rollout

logger = logging.getLogger(__name__)

LogRollouts = Callable[[int, Sequence[Mapping[str, Any]]], None]


class RubricGRPOTrainer(ResumableTrainer, FusedGRPOTrainer):
    """Trains by GRPO on the rewards of a rubric.

    Args:
        model: The policy.
        rubric: Judges the rollouts.
        args: TRL's configuration; ``reward_weights`` is the rubric's.
        train_dataset: From :func:`guerdon.grpo.rows_dataset`.
        processing_class: The model's tokenizer.
        log_rollouts: Takes the step and the records of each batch of rollouts, on the main process.
        fast_rollouts: Whether small models on CPU sample with :mod:`guerdon.grpo.rollouts` where that can run them.
        callbacks: The run's own.
        **kwargs: What else TRL's trainer takes, and ``step_options``.

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
        fast_rollouts: bool = True,
        callbacks: Sequence[TrainerCallback] = (),
        **kwargs: Any,
    ) -> None:
        _check_size(train_dataset, args)
        self._rubric = rubric
        self._log_rollouts = log_rollouts
        self._fast_rollouts = fast_rollouts
        self._records: list[dict[str, Any]] = []
        self._groups_logged = (-1, 0)  # the step of the latest records, and the groups that it has so far
        super().__init__(
            model=model,
            reward_funcs=[_named(name) for name in rubric.names],
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            callbacks=list(callbacks),
            **kwargs,
        )
        self.remove_callback(PrinterCallback)  # it prints the metrics as dicts

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self._fast_rollouts and self.accelerator.device.type == "cpu":
            model = self.accelerator.unwrap_model(self.model_wrapped)
            reason = self._rollout_obstacle(model, images)
            if reason is None:
                return sample(model, prompt_ids, self._sampling()), None
            self._fast_rollouts = False
            logger.warning("transformers' generate samples the rollouts: %s", reason)
        generate: Any = super()._generate_single_turn
        result: tuple[list[list[int]], list[list[float]] | None] = generate(
            prompt_ids, images, multimodal_fields, num_generations, has_tool_images
        )
        return result

    def _rollout_obstacle(self, model: torch.nn.Module, images: Any) -> str | None:
        if self.use_vllm or self.use_transformers_continuous_batching:
            return "another engine is asked for"
        if images is not None:
            return "there are images"
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return "the model is sharded"
        args: Any = self.args
        if self.repetition_penalty != 1.0 or args.generation_kwargs or args.cache_implementation:
            return "repetition_penalty, generation_kwargs or cache_implementation is set"
        reason = obstacle(model)
        return reason and f"of the model, {reason}"

    def _sampling(self) -> Sampling:
        assert self.max_completion_length is not None
        return Sampling(
            max_new_tokens=self.max_completion_length,
            eos_token_ids=self.eos_token_ids,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
        )

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
        for name, value in [*judging_metrics(judgements), *judgements.metrics.items()]:
            self._log_metric(name, value)
        weights = self._rubric.weights(step)
        self.reward_weights = torch.tensor([weights[name] for name in self._rubric.names])
        self._records = [record(*pair) for pair in zip(rollouts, judgements, strict=True)]
        rows = [reward_row(judgement, self._rubric.names) for judgement in judgements]
        rewards = [math.nan if judgement.reward is None else judgement.reward for judgement in judgements]
        self._rewards = gather(torch.tensor(rewards, device=self.accelerator.device))
        matrix: torch.Tensor = gather(torch.tensor(rows, device=self.accelerator.device))
        return matrix

    def _judge(self, rollouts: list[Rollout], step: int) -> Judgements:
        """Judge this process's rollouts; an error in any process is raised in all, or the others would wait."""
        judgements = Judgements()
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
        step = self.state.global_step + 1  # the step that trains on them, as the metrics of steps count
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
