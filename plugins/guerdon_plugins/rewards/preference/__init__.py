"""``preference``: a reward model's score of a reply."""

from guerdon_plugins.rewards.preference.reward import Preference

__all__ = ["Preference"]
