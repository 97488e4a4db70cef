"""TRL's trainer with a curriculum, which learns the signals of its groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.grpo.curriculum import Curriculum
from guerdon.grpo.dynamic_sampling import Sampled
from guerdon.grpo.dynamic_trainer import DynamicSamplingTrainer
from guerdon.types import Judgement, Rollout


class CurriculumTrainer(DynamicSamplingTrainer):
    """A trainer whose data set may draw its prompts by a curriculum.

    Args:
        *args: As for TRL's trainer.
        curriculum: What ``train_dataset`` draws prompts by, if it does.
        **kwargs: As for the trainer with dynamic sampling.
    """

    def __init__(self, *args: Any, curriculum: Curriculum | None = None, **kwargs: Any) -> None:
        self._curriculum = curriculum
        super().__init__(*args, **kwargs)

    @property
    def curriculum_history(self) -> dict[int, Any] | None:
        """Return which groups had a signal in each batch; a checkpoint keeps it."""
        return None if self._curriculum is None else self._curriculum.history

    @curriculum_history.setter
    def curriculum_history(self, history: dict[int, Any] | None) -> None:
        if self._curriculum is not None and history is not None:
            self._curriculum.history = history

    def _curriculum_metrics(
        self, inputs: Sequence[dict[str, Any]], judged: Sequence[tuple[Rollout, Judgement]]
    ) -> dict[str, float]:
        """Tell the curriculum the signals of a batch, and return its metrics.

        Args:
            inputs: This process's rows.
            judged: The rollouts of all processes, group after group.
        """
        if self._curriculum is None:
            return {}
        assert self.num_generations is not None
        size = self.num_generations
        groups = [
            [Sampled(first, *one, ()) for one in judged[first : first + size]]
            for first in range(0, len(judged), size)
        ]
        return self._curriculum.learn(inputs[0]["index"] // self._curriculum.size, map(self._signal, groups))
