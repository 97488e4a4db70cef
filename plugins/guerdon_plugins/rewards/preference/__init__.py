"""``preference``: what a reward model thinks of a reply."""

from guerdon_plugins.rewards.preference.reward import Preference

__all__ = ["Preference"]
