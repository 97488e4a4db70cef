"""The group reward ``my_plugin``."""

from __future__ import annotations


class MyPlugin:
    """Pays a completion for words that no other completion of its prompt has.

    Args:
        at_least: The smallest number of words that a completion needs to earn anything.

    Raises:
        ValueError: ``at_least`` is below 1.
    """

    def __init__(self, at_least: int = 1) -> None:
        if at_least < 1:
            raise ValueError(f"at_least is {at_least}; it must be at least 1")
        self._at_least = at_least

    def __call__(self, completions: list[str]) -> list[float | None]:
        words = [set(completion.lower().split()) for completion in completions]
        return [self._share(number, words) for number in range(len(words))]

    def _share(self, number: int, words: list[set[str]]) -> float:
        """Return the share of a completion's words that are its own."""
        own = words[number]
        if len(own) < self._at_least:
            return 0.0
        others = set[str]().union(*words[:number], *words[number + 1 :])
        return len(own - others) / len(own)
