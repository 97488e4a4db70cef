"""Adapter for verl: ``compute_score``, which verl's configuration can name directly.

```sh
reward.custom_reward_function.path=pkg://guerdon.adapters.verl
+reward.custom_reward_function.reward_kwargs.rubric=/data/zero.yaml
```

verl calls it once for each completion, from many threads, in each of its reward workers. Waiting calls are judged
together.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.adapters.named_rubric import NO_GROUPS, NamedRubric, reward_of
from guerdon.types import Rollout

__all__ = [
    "WORKERS",
    "compute_score",
]

WORKERS = 2
"""verl runs several reward workers (8 by default), and each starts its own processes."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    unscored: float | None = None,
    workers: int = WORKERS,
    **_: Any,
) -> dict[str, float]:
    """Return the reward of one completion, with verl's calling convention.

    Args:
        data_source: The row's; verifiers and routes may read it as the column ``data_source``.
        solution_str: The completion.
        ground_truth: The row's; the column ``reference``.
        extra_info: The row's; each key is a column.
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        unscored: The reward of a completion that has none; without it, such a completion is an error.
        workers: How many processes share the sync verifiers, in each of verl's reward workers.

    Returns:
        ``score``, ``unscored`` (1 for a completion without a reward), and each entry's raw value, NaN where it has
        none: verl requires the same keys for every completion.

    Raises:
        CheckFailedError, InfrastructureError: The completion has no reward, and ``unscored`` is not set.
        FailureBudgetError: Too many scores failed, even if ``unscored`` is set.
        UsageError: The rubric cannot be used.
    """
    with _lock:
        named = _named_rubric(rubric, stage, json.dumps(_plain(params or {}), sort_keys=True), workers)
    columns = {**(extra_info or {}), "data_source": data_source, "reference": ground_truth}
    prompt = columns.pop("prompt", "")
    (judgement,) = named.score([Rollout(prompt, solution_str, columns)])
    return {
        **judgement.values(named.names),
        "unscored": float(judgement.reward is None),
        "score": reward_of(judgement, unscored),
    }


_lock = threading.Lock()
"""verl's threads all send their first completions at once, and one rubric is enough for them."""


@functools.cache
def _named_rubric(rubric: str, stage: str | None, params: str, workers: int) -> NamedRubric:
    named = NamedRubric(rubric, stage, json.loads(params), workers)
    named.refuse_groups("verl", NO_GROUPS)
    named.warn_of_schedules("verl")
    return named


def _plain(value: Any) -> Any:
    """Return a value of verl's configuration (OmegaConf's mappings and lists) as plain Python."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
