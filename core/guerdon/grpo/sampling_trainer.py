"""The completions of TRL's trainer: within the model's positions, and on CPU by guerdon's own loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.errors import DataError, StageFailedError
from guerdon.sampling.cpu_sampler import Finished, LogitsNotFiniteError, not_awaited, obstacle, sample
from guerdon.sampling.sampling import Sampling, plain_generation, positions_of
from guerdon.training.finite import not_finite
from guerdon.training.together import raised_in_all

logger = logging.getLogger(__name__)


class SamplingTrainer(GRPOTrainer):
    """TRL's trainer, which samples small models on CPU with ``guerdon.sampling.cpu_sampler``.

    Args:
        *args: As for TRL's trainer.
        fast_rollouts: Whether it does so if the loop supports the model and the options.
        **kwargs: As for TRL's trainer.
    """

    def __init__(self, *args: Any, fast_rollouts: bool = True, **kwargs: Any) -> None:
        self._fast_rollouts = fast_rollouts
        self._told_of_positions = False
        super().__init__(*args, **kwargs)

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        model: Any = self.accelerator.unwrap_model(self.model_wrapped, keep_torch_compile=False)
        with self._raised_in_all():
            rooms = self._rooms(model, prompt_ids)
        if self._fast_rollouts and self.accelerator.device.type == "cpu":
            reason = self._rollout_obstacle(model, images)
            if reason is None:
                with self._raised_in_all():
                    return self._sample(model, prompt_ids), None
            self._fast_rollouts = False
            logger.warning("transformers' generate samples the rollouts: %s", reason)
        generate: Any = super()._generate_single_turn
        try:
            with plain_generation(model):
                ids, logps = generate(prompt_ids, images, multimodal_fields, num_generations, has_tool_images)
        except RuntimeError as error:
            # torch's message for logits that are not finite
            if "probability tensor contains" in str(error):
                raise self._not_finite() from error
            raise
        cut = [row[:room] for row, room in zip(ids, rooms, strict=True)]
        return cut, logps and [row[:room] for row, room in zip(logps, rooms, strict=True)]

    def _raised_in_all(self) -> AbstractContextManager[None]:
        """Return ``raised_in_all``. With tools, processes sample different numbers of turns and cannot synchronise."""
        return nullcontext() if self.tools else raised_in_all()

    def _rooms(self, model: Any, prompt_ids: list[list[int]]) -> list[int]:
        """Return the largest number of tokens of each completion.

        Raises:
            DataError: A prompt has no token, or leaves no position of the model for its completion.
        """
        most = self.max_completion_length
        assert most is not None
        positions = positions_of(model.config)
        rooms = []
        for ids in prompt_ids:
            room = most if positions is None else min(most, positions - len(ids))
            if not ids or room <= 0:
                raise DataError(
                    f"the prompt {self._tokenizer.decode(ids)[:80]!r} has {len(ids)} tokens, and the model has "
                    f"{positions} positions for it and its completion. Leave out empty and long prompts, or raise "
                    "'max_position_embeddings' by 'model_init_kwargs'."
                )
            rooms.append(room)
        if min(rooms) < most and not self._told_of_positions:
            self._told_of_positions = True
            logger.warning(
                "completions are cut at %d tokens, not at max_completion_length %d: the model has %d positions",
                min(rooms), most, positions,
            )  # fmt: skip
        return rooms

    def _sample(self, model: PreTrainedModel, prompt_ids: list[list[int]]) -> list[list[int]]:
        try:
            with self._judged_early(len(prompt_ids)) as finished:
                return sample(model, prompt_ids, self._sampling(), finished)
        except LogitsNotFiniteError as error:
            raise self._not_finite() from error

    @contextmanager
    def _judged_early(self, count: int) -> Iterator[Finished]:
        """Yield what takes completions while others are sampled.

        Args:
            count: The number of completions that are sampled.
        """
        del count  # for a subclass that judges
        yield not_awaited

    def _not_finite(self) -> StageFailedError:
        return not_finite(
            self.state.global_step + 1, "the policy's logits are NaN or infinite where it samples"
        )

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
            max_completion_length=self.max_completion_length,
            eos_token_ids=self.eos_token_ids,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
        )
