"""``length``: check the length of a completion, or a part of it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon import Score
from guerdon.text import Part, checked_tags, select_part, words
from guerdon_plugins.shared.visible import without_invisible


class Length:
    """Scores 1 for a length between ``min_words`` and ``max_words``, and less outside, by distance.

    A shorter text scores its length over ``min_words``, a longer one ``max_words`` over its length. Words count in any
    script; a Chinese or Japanese character is a word. With a minimum, add ``repetition_penalty``, because repetition is
    the cheapest way to reach one. To bound tokens rather than words, see ``soft_overlong_punishment``.

    Args:
        min_words: The smallest length that scores 1.
        max_words: The largest length that scores 1; ``null`` for no bound.
        part: The part to measure: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: There are no bounds, or they contradict each other.
    """

    def __init__(
        self,
        min_words: int = 0,
        max_words: int | None = None,
        part: Part = "whole",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if min_words <= 0 and max_words is None:
            raise ValueError("neither min_words nor max_words bounds the length; give one of them")
        if min_words < 0 or (max_words is not None and max_words < max(min_words, 1)):
            raise ValueError(
                f"min_words is {min_words} and max_words {max_words}; need 0 <= min_words <= max_words, 1 <= max_words"
            )
        self._min = min_words
        self._max = max_words
        self._part = part
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str) -> Score:
        count = len(words(without_invisible(select_part(completion, self._part, self._tags))))
        if count < self._min:
            return Score(count / self._min, explanation=f"{count} words, fewer than {self._min}")
        if self._max is not None and count > self._max:
            return Score(self._max / count, explanation=f"{count} words, more than {self._max}")
        return Score(1.0, explanation=f"{count} words")
