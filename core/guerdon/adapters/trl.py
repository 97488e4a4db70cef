"""Adapter for TRL: a rubric as one of ``GRPOTrainer``'s ``reward_funcs``.

```python
from guerdon.adapters.trl import reward_function

trainer = GRPOTrainer(model, reward_funcs=reward_function("zero.yaml", stage="zero"), ...)
```

The asynchronous trainer, ``AsyncGRPOTrainer``, takes the same function. It gives a reward function neither the training
step nor a way to log, so weights stay those of step 0, and entries have no metrics. The stage ``async_grpo`` has them.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerdon.adapters.named_rubric import NamedRubric, renamed
from guerdon.data.json_values import to_json
from guerdon.errors import DataError
from guerdon.tools.state import public_attributes
from guerdon.types import Judgement, Messages, Outcome, Rollout, total_usage

__all__ = [
    "RewardFunction",
    "reward_function",
]


class RewardFunction:
    """A rubric with TRL's calling convention. Created by ``reward_function``; also a context manager."""

    def __init__(
        self, rubric: NamedRubric, columns: Mapping[str, str], num_generations: int | None = None
    ) -> None:
        self._num_generations = num_generations
        self.rubric = rubric
        self._columns = columns
        self._warned = False
        self.__name__ = rubric.name
        """The name in TRL's metrics."""

    def __call__(
        self,
        prompts: Sequence[str | Messages],
        completions: Sequence[str | Messages],
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        environments: Sequence[Any] | None = None,
        **columns: Sequence[Any],
    ) -> list[float | None]:
        """Return the reward of each completion with weights and schedules applied, or ``None`` if it has none.

        Args:
            prompts: One for each completion.
            completions: Texts or messages.
            completion_ids: Their tokens.
            trainer_state: Its ``global_step`` is the step for weight schedules; without it, the step is 0.
            log_metric: Gets each entry's mean value and failure rate.
            log_extra: Gets each entry's values.
            environments: TRL's environments, one for each completion. Scorers read their states, as in a run. Their
                ``get_reward`` is not called: TRL does this, and adds the value to the reward itself.
            **columns: The data's columns, one value for each completion.
        """
        if trainer_state is None and not self._warned:  # the asynchronous trainer
            self._warned = True
            self.rubric.warn_of_schedules("TRL's asynchronous trainer")
        step = int(trainer_state.global_step) if trainer_state is not None else 0
        rollouts = [
            Rollout(
                prompt,
                completion,
                renamed({name: values[i] for name, values in columns.items()}, self._columns),
                completion_ids[i] if completion_ids is not None else (),
                environment=_state(environments[i]) if environments else None,
            )
            for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        judgements = self.rubric.score(rollouts, step, self._groups(rollouts))
        for name in self.rubric.names:
            _log(name, judgements, log_metric, log_extra)
        if log_metric is not None:
            for name, value in judgements.metrics.items():
                log_metric(name, value)
        return [judgement.reward for judgement in judgements]

    def _groups(self, rollouts: Sequence[Rollout]) -> list[int] | None:
        """Return each rollout's group.

        Raises:
            DataError: The rollouts are not whole groups.
        """
        size = self._num_generations
        if size is None:
            return None
        starts = range(0, len(rollouts), size)
        same = all(len({repr(one.prompt) for one in rollouts[start : start + size]}) == 1 for start in starts)
        if len(rollouts) % size or not same:
            raise DataError(
                f"{len(rollouts)} completions are not whole groups of num_generations {size}. Make "
                "per_device_train_batch_size a multiple of num_generations, so that a process has whole groups, and "
                "give the adapter the trainer's num_generations."
            )
        return [index // size for index in range(len(rollouts))]

    def close(self) -> None:
        """Stop the workers. The end of the process does this too."""
        self.rubric.close()

    def __enter__(self) -> RewardFunction:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reward_function(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    workers: int | None = None,
    num_generations: int | None = None,
) -> RewardFunction:
    """Return a reward function for TRL's trainers.

    It returns the rubric's total reward. The manifest decides weights, schedules, routes and the effect of failures, so
    TRL has only one reward to sum. Each entry's raw values go to TRL's metrics (``guerdon/<entry>/mean``,
    ``guerdon/<entry>/failure_rate``) and to its table of completions.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        columns: For each name that a verifier reads, the data's name: ``{"reference": "answer"}``.
        workers: How many processes share the sync verifiers; by default one per usable CPU.
        num_generations: The trainer's, for rubrics with group rewards.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
    """
    named = NamedRubric(rubric, stage, params, workers)
    if num_generations is None:
        named.refuse_groups("TRL", "Give the adapter the trainer's num_generations.")
    return RewardFunction(named, columns or {}, num_generations)


def _state(environment: Any) -> dict[str, Any]:
    """Return the state of an environment of TRL's: what its ``state`` returns, otherwise its public attributes."""
    state = getattr(environment, "state", None)
    if not callable(state):
        return public_attributes(environment)
    returned = state()
    if inspect.isawaitable(returned):

        async def wait() -> Any:
            return await returned

        returned = asyncio.run(wait())
    return dict(to_json(returned))


def _log(
    name: str,
    judgements: Sequence[Judgement],
    log_metric: Callable[[str, float], None] | None,
    log_extra: Callable[[str, list[Any]], None] | None,
) -> None:
    verdicts = [judgement.verdicts.get(name) for judgement in judgements]
    values = [verdict.score.value if verdict else None for verdict in verdicts]
    if log_extra is not None:
        log_extra(name, values)
    if log_metric is not None:
        scored = [value for value in values if value is not None]
        if scored:
            log_metric(f"guerdon/{name}/mean", math.fsum(scored) / len(scored))
        failed = sum(v is not None and v.score.outcome is Outcome.FAILED for v in verdicts)
        log_metric(f"guerdon/{name}/failure_rate", failed / max(len(verdicts), 1))
        usage = total_usage(verdict.score.usage for verdict in verdicts if verdict)
        for what, amount in usage.items():
            log_metric(f"guerdon/{name}/usage/{what}", amount / len(verdicts))
