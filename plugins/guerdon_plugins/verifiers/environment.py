"""The reward that a rollout's environment gave itself."""

from __future__ import annotations

from guerdon import Score


class EnvironmentReward:
    """Gives the value of the environment's ``get_reward``. A rollout without one is skipped.

    No word of the completion counts, so nothing that the model or a tool writes can be paid.
    """

    def __call__(self, completion: str, environment_reward: float | None = None) -> Score:
        """Return the environment's own reward."""
        if environment_reward is None:
            return Score.skipped("the rollout has no environment with a reward")
        return Score(environment_reward)
