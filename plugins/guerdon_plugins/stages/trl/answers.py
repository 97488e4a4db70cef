"""Sample the answers of a model that supervised training has not finished yet, for its evaluation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from guerdon import Rollout, Row
from guerdon.errors import UsageError, one_line
from guerdon.sampling.sampling import Sampling
from guerdon_plugins.stages.sampling.engines import ChatFormat, TransformersEngine
from guerdon_plugins.stages.sampling.generation import Draw, rollout_of

__all__ = ["Answers"]

logger = logging.getLogger(__name__)


class Answers(TransformersEngine):
    """The model of a trainer, which samples at temperature 1.

    Args:
        trainer: The trainer, whose tokenizer renders the prompts.
        name: The stage's name, for errors.
        max_completion_length: The most tokens of a completion.

    Raises:
        UsageError: The model is sharded.
    """

    def __init__(self, trainer: Any, name: str, max_completion_length: int) -> None:
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise UsageError(
                f"stage '{name}' has an evaluation, and its model is sharded (FSDP or DeepSpeed), from which it "
                "does not sample. Remove 'evaluation', or train without sharding."
            )
        self._name = name
        self._model = trainer.accelerator.unwrap_model(trainer.model)
        self._tokenizer = trainer.processing_class
        self._chat_format = ChatFormat()
        self._sampling = Sampling(max_completion_length)
        self._seed = trainer.args.seed
        self._refused: set[str] = set()

    def __call__(self, rows: Sequence[Row], batch: int) -> list[Rollout | None]:
        """Return one answer for each row; ``None`` for a prompt that the model does not take.

        Args:
            rows: The rows, with their prompts.
            batch: The number of the batch.
        """
        seed = self._seed * 10_007 + batch
        answers: list[Rollout | None] = [None] * len(rows)
        draws = [Draw(row["prompt"], seed, row) for row in rows]
        for place, completion in self.complete(draws, self._sampling):
            if completion.refused is None:
                answers[place] = rollout_of(rows[place], completion)
            elif completion.refused not in self._refused:
                self._refused.add(completion.refused)
                logger.warning("a prompt of the evaluation is left out: %s", one_line(completion.refused))
        return answers
