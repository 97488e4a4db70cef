"""Adapter for SkyRL: an environment of one turn whose reward is a rubric's.

```python
import skyrl_gym
from guerdon.adapters.skyrl import environment_class

skyrl_gym.register(id="zero", entry_point=environment_class("zero.yaml", stage="zero"))
```

The data's column ``env_class``, or ``environment.env_class`` of the configuration, is then ``zero``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.adapters.named_rubric import NO_GROUPS, NamedRubric, renamed, reward_of
from guerdon.errors import DataError, library_of
from guerdon.types import Messages, Rollout

__all__ = [
    "environment_class",
]


def environment_class(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    unscored: float | None = None,
    workers: int | None = None,
) -> type[Any]:
    """Return a class of environments for SkyRL, whose episodes end with the first reply.

    The columns are the row's fields other than the prompt, those in its ``extra_info``, and
    ``reward_spec.ground_truth`` as ``reference``. All environments of a process share one rubric.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        columns: For each name that a verifier reads, the data's name: ``{"reference": "answer"}``.
        unscored: The reward of a completion that has none; without it, such a completion is an error.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
        MissingDependencyError: SkyRL-gym is not installed.
    """
    with library_of("the adapter to SkyRL", package="skyrl_gym"):
        from skyrl_gym.envs.base_text_env import BaseTextEnv
    named = NamedRubric(rubric, stage, params, workers)
    named.refuse_groups("SkyRL", NO_GROUPS)
    named.warn_of_schedules("SkyRL")

    class RubricEnvironment(BaseTextEnv):  # type: ignore[misc]  # no types, where it is not installed
        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            self._columns = renamed(_columns(extras or {}), columns or {})
            self._prompt: Messages | None = None
            self._metrics: dict[str, float] = {}

        def init(self, prompt: Messages) -> tuple[Messages, dict[str, Any]]:
            self._prompt = prompt
            return prompt, {}

        def step(self, action: str) -> dict[str, Any]:
            if self._prompt is None:
                raise DataError("step is called before init. Call init with the prompt first.")
            (judgement,) = named.score([Rollout(self._prompt, action, self._columns)])
            reward = reward_of(judgement, unscored)
            values = {name: verdict.score.value for name, verdict in judgement.verdicts.items()}
            scored = {name: value for name, value in values.items() if value is not None}
            self._metrics = {**scored, "unscored": float(judgement.reward is None)}
            return {"observations": [], "reward": reward, "done": True, "metadata": values}

        def get_metrics(self) -> dict[str, float]:
            return self._metrics

        @staticmethod
        def aggregate_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
            """Return the mean of each metric over the episodes that have it."""
            names = dict.fromkeys(name for episode in metrics for name in episode)
            return {name: _mean([episode[name] for episode in metrics if name in episode]) for name in names}

    RubricEnvironment.__name__ = RubricEnvironment.__qualname__ = named.name
    return RubricEnvironment


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _columns(extras: Mapping[str, Any]) -> dict[str, Any]:
    columns = {**extras, **(extras.get("extra_info") or {})}
    truth = (extras.get("reward_spec") or {}).get("ground_truth")
    return {**columns, "reference": truth} if truth is not None else columns
