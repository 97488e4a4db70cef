"""What is written down of judged rollouts: the records of a run's log."""

from __future__ import annotations

from typing import Any

from guerdon.data.json_values import to_json
from guerdon.types import Judgement, Rollout

__all__ = ["record"]


def record(rollout: Rollout, judgement: Judgement, **extra: Any) -> dict[str, Any]:
    """Return a rollout and its judgement as JSON values: a line of ``rollouts.jsonl``.

    It holds the data row's columns, so that the rollout can be judged again.

    Args:
        rollout: The rollout.
        judgement: What the rubric says of it.
        **extra: Other values to keep, such as the rollout's group.
    """
    return {
        **extra,
        "prompt": rollout.prompt,
        "completion": rollout.completion,
        "columns": to_json(dict(rollout.columns)),
        "completion_tokens": len(rollout.completion_ids),
        **judgement.to_dict(),
    }
