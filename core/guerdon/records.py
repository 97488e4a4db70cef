"""Build the records of judged rollouts for a run's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.data.json_values import to_json
from guerdon.types import Judgement, Rollout

__all__ = ["record", "records"]


def record(rollout: Rollout, judgement: Judgement, **extra: Any) -> dict[str, Any]:
    """Return a rollout and its judgement as JSON values: a line of ``rollouts.jsonl``.

    It holds the data row's columns, so that the rollout can be judged again.

    Args:
        rollout: The rollout.
        judgement: The rubric's judgement of it.
        **extra: Other values to add, such as the rollout's group, or values that replace the ones above.
    """
    return {
        **extra,
        "prompt": rollout.prompt,
        "completion": rollout.completion,
        "columns": to_json(dict(rollout.columns)),
        "completion_tokens": len(rollout.completion_ids),
        **_with_tools(rollout),
        **judgement.to_dict(),
        **extra,
    }


def _with_tools(rollout: Rollout) -> dict[str, Any]:
    """Return the calls of tools and the environment's end, for a rollout that has them."""
    found: dict[str, Any] = {}
    if rollout.tool_calls:
        found["tool_calls"] = [call.to_dict() for call in rollout.tool_calls]
    if rollout.environment is not None:
        found["environment"] = dict(rollout.environment)
    if rollout.environment_reward is not None:
        found["environment_reward"] = rollout.environment_reward
    if rollout.broken is not None:
        found["broken"] = rollout.broken
    return found


def records(
    rollouts: Sequence[Rollout], judgements: Sequence[Judgement], **extra: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return a record for each rollout.

    Args:
        rollouts: The rollouts.
        judgements: One judgement for each rollout.
        **extra: Other values to add, one sequence each with one value for each rollout.

    Raises:
        ValueError: The lengths differ.
    """
    columns = [[(name, value) for value in values] for name, values in extra.items()]
    return [
        record(rollout, judgement, **dict(values))
        for rollout, judgement, *values in zip(rollouts, judgements, *columns, strict=True)
    ]
