"""The environment ``my_plugin``."""

from __future__ import annotations

from typing import Any


class MyPlugin:
    """A number to guess. The reward is 1 for the right number, and 0 without it.

    Args:
        most: The most guesses.

    Raises:
        ValueError: ``most`` is below 1.
    """

    timeout_s = 5.0

    def __init__(self, most: int = 5) -> None:
        if most < 1:
            raise ValueError(f"most is {most}; give 1 or more")
        self._most = most

    def reset(self, **row: Any) -> str | None:
        """Begin with the row's number. The text is added to the prompt."""
        self._number = int(row.get("number", 7))
        self.guesses = 0
        self.found = False
        return f"You have {self._most} guesses."

    def guess(self, number: int) -> str:
        """Guess the number.

        Args:
            number: The guess.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError("a guess is a whole number")
        if self.found or self.guesses == self._most:
            raise ValueError("the game is over")
        self.guesses += 1
        self.found = number == self._number
        if self.found:
            return "right"
        return "too small" if number < self._number else "too large"

    def get_reward(self) -> float:
        """Return the reward of the finished game."""
        return float(self.found)
