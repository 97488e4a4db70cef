"""Check that an entry that scores by the environment has one in the rollouts that it judges."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon.manifest.plan import StagePlan
from guerdon.rubric import Entry
from guerdon.types import Row

__all__ = ["environment_problem"]

_OF_ENVIRONMENT = frozenset({"environment", "environment_reward"})


def environment_problem(stage: StagePlan, entry: Entry, rows: Sequence[Row]) -> str | None:
    """Return why an entry finds no environment, or no reward of one, in any rollout; ``None`` if it may find one.

    An entry that can judge without an environment, by the completion and the row's columns, has no such problem.

    Args:
        stage: The stage, with all its environments.
        entry: The entry.
        rows: The sampled rows.
    """
    columns = entry.component.columns
    asked = columns.names & _OF_ENVIRONMENT
    if not asked or (not asked & columns.required and columns.names - _OF_ENVIRONMENT):
        return None
    judged = [row for row in rows if entry.applies_to(row) and not asked & row.keys()]
    if not judged:
        return None
    what = " and ".join(f"'{name}'" for name in sorted(asked))
    environments = [tool for tool in stage.tools if tool.is_environment]
    if not environments:
        return (
            f"it scores by {what} of the rollout, and the stage has no environment: every rollout would be skipped or "
            "fail. List one under 'environments', or remove the entry."
        )
    applying = [one for one in environments if any(one.applies_to(row) for row in judged)]
    if not applying:
        return (
            f"it scores by {what} of the rollout, and no environment applies to its {len(judged)} sampled rows. "
            "Change the 'when' of the entry, or that of an environment."
        )
    if asked == {"environment_reward"} and not any(one.component.member("get_reward") for one in applying):
        return (
            f"it scores by the environment's reward, and '{applying[0].name}' has no method get_reward: every rollout "
            "would be skipped. Add the method, or remove the entry."
        )
    return None
