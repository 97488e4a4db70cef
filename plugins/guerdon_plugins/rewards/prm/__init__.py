"""``prm``: the steps of a completion, by a process reward model."""

from guerdon_plugins.rewards.prm.reward import ProcessReward

__all__ = ["ProcessReward"]
