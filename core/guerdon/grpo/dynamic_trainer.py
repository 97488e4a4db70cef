"""TRL's trainer with dynamic sampling between its generation and its rewards."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from accelerate.utils import gather_object

from guerdon.errors import UsageError
from guerdon.grpo.dynamic_sampling import Group, PromptOrder, Sampled, Signal, fill
from guerdon.grpo.fused_trainer import FusedGRPOTrainer
from guerdon.types import Judgements, Rollout

logger = logging.getLogger(__name__)


class DynamicSamplingTrainer(FusedGRPOTrainer):
    """A trainer whose batches are filled with groups that have a signal, before TRL reads them.

    TRL computes rewards, advantages, reference log-probabilities and normalizers on the filled batch, as if its prompts
    had been the first ones. A subclass judges rollouts and knows what a group says.

    Args:
        *args: As for TRL's trainer.
        max_rounds: The most rounds of fresh prompts for a batch; 0 turns dynamic sampling off.
        **kwargs: As for the fused trainer.

    Raises:
        UsageError: An option cannot be combined with dynamic sampling.
    """

    train_dataset: Any

    def __init__(self, *args: Any, max_rounds: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_rounds = 0 if "dynamic_sampling" in self._lacking else max_rounds
        self._inputs: list[dict[str, Any]] = []
        self._sampled_inputs: Sequence[dict[str, Any]] = []
        """The rows of the completions that are sampled now."""
        self._filled: list[Sampled] | None = None
        self._first_metrics: dict[str, float] = {}
        self._round_metrics: dict[str, float] = {}
        self._warned_of_constant = False
        self._order = PromptOrder(len(self.train_dataset) if max_rounds else 0, self.args.seed)
        if not max_rounds:
            return
        if self.tools or getattr(self, "environment_factories", None) is not None:
            raise UsageError(
                "dynamic_sampling cannot be combined with tools and environments, which begin before a batch is "
                "sampled. Leave out one of the two."
            )
        if self._is_vlm:
            raise UsageError("dynamic_sampling cannot be combined with images. Leave it out.")

    @property
    def fresh_prompts_passed(self) -> int:
        """Return how far the order of fresh prompts is read; a checkpoint keeps it."""
        return self._order.position

    @fresh_prompts_passed.setter
    def fresh_prompts_passed(self, position: int) -> None:
        self._order.position = position

    def _judged_once(self, rollouts: Sequence[Rollout]) -> Judgements:
        """Judge this process's rollouts."""
        raise NotImplementedError

    def _signal(self, group: Group) -> Signal:
        """Return what a group says about the gradient."""
        raise NotImplementedError

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._inputs = self._sampled_inputs = inputs
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return output

    def _generate(self, prompts: list[Any]) -> Any:
        assert self.model is not None
        if not (self._max_rounds and self.model.training):
            return super()._generate(prompts)
        first = self._sample_groups(self._inputs)
        self._first_metrics = self._round_metrics
        assert self.num_generations is not None
        processes = self.accelerator.num_processes
        filled = fill(
            first,
            self._order,
            self._sample_fresh,
            self._signal,
            max_rounds=self._max_rounds,
            multiple=processes // math.gcd(processes, self.num_generations),
        )
        for name, value in filled.metrics.items():
            self._metrics["train"][f"dynamic_sampling/{name}"].append(value)
        rewards = [one.judgement.reward for group in first for one in group]
        known = [reward for reward in rewards if reward is not None]
        if known:
            self._metrics["train"]["dynamic_sampling/reward_before"].append(math.fsum(known) / len(known))
        if filled.constant and not self._warned_of_constant:
            self._warned_of_constant = True
            logger.warning(
                "step %d trains on %d groups of equal rewards: dynamic sampling found no others in %d rounds. The "
                "metrics dynamic_sampling/… count them; this line is not repeated.",
                self.state.global_step + 1, filled.constant, int(filled.metrics["rounds"]),
            )  # fmt: skip
        return self._take_own([one for group in filled.groups for one in group], prompts)

    def _take_own(self, batch: Sequence[Sampled], prompts: list[Any]) -> Any:
        """Return this process's part of the batch as TRL's generation does, and put its rows in TRL's place."""
        own = self._filled = list(self._share(batch))
        self._inputs[:] = [self.train_dataset[one.index] for one in own]
        prompts[:] = [row["prompt"] for row in self._inputs]
        prompt_ids, completion_ids, completions, logprobs = (
            list(column) for column in zip(*(one.generated for one in own), strict=True)
        )
        known = None if logprobs[0] is None else logprobs
        return prompt_ids, completion_ids, None, completions, known, {}, None, []

    def _sample_fresh(self, rows: Sequence[int]) -> Sequence[Group]:
        """Sample and judge one group for each row, without adding to TRL's metrics, except for the number of tokens.

        So TRL's metrics describe the batch as it was first sampled, and can be compared with those of other trainings.
        """
        metrics = self._metrics["train"]
        known = {name: len(values) for name, values in metrics.items()}
        assert self.num_generations is not None
        repeated = [row for row in rows for _ in range(self.num_generations)]
        groups = self._sample_groups([self.train_dataset[row] for row in self._share(repeated)])
        for name, values in metrics.items():
            if name != "num_tokens":  # a running total, which TRL replaces
                del values[known.get(name, 0) :]
        return groups

    def _share(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return this process's part of all processes' rollouts."""
        count = len(items) // self.accelerator.num_processes
        return items[self.accelerator.process_index * count :][:count]

    def _sample_groups(self, inputs: Sequence[dict[str, Any]]) -> Sequence[Group]:
        """Sample and judge this process's rollouts, and return the groups of all processes."""
        prompts = [row["prompt"] for row in inputs]
        self._sampled_inputs = inputs
        made: Any = super()._generate(prompts)
        prompt_ids, completion_ids, _, completions, logprobs, *_ = made
        rollouts = [
            rollout_of(prompt, completion, row["row"], ids)
            for prompt, completion, row, ids in zip(prompts, completions, inputs, completion_ids, strict=True)
        ]
        judgements = self._judged_once(rollouts)
        self._round_metrics = judgements.metrics
        columns = prompt_ids, completion_ids, completions, logprobs or [None] * len(inputs)
        own = [
            Sampled(row["index"], rollout, judgement, generated)
            for row, rollout, judgement, generated in zip(
                inputs, rollouts, judgements, zip(*columns, strict=True), strict=True
            )
        ]
        gathered: list[Sampled] = gather_object(own)
        assert self.num_generations is not None
        size = self.num_generations
        return [gathered[start : start + size] for start in range(0, len(gathered), size)]


def rollout_of(prompt: Any, completion: Any, row: dict[str, Any], ids: list[int]) -> Rollout:
    """Return a rollout of a row of the data."""
    return Rollout(prompt, completion, {name: row[name] for name in row if name != "prompt"}, ids)
