"""``tag_count``: how many of the expected tags stand exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon import Score


class TagCount:
    """Scores the share of opening and closing tags that stand exactly once, wherever they stand.

    Open-R1's ``tag_count``, without its rule that each tag has a line of its own: a gentle slope towards the tags for a
    model that does not write them yet. It looks neither at their order nor at what they hold; ``format`` does, and its
    ``partial_credit`` is the safer slope.

    Args:
        tags: The tags' names.
        prefilled: Whether the chat template has already opened the first tag, so that a completion must not.

    Raises:
        ValueError: ``tags`` is empty.
    """

    def __init__(self, tags: Sequence[str] = ("think", "answer"), prefilled: bool = False) -> None:
        if not tags:
            raise ValueError("tags is empty; name at least one, such as [think, answer]")
        self._marks = [mark for tag in tags for mark in (f"<{tag}>", f"</{tag}>")]
        self._prefix = self._marks[0] if prefilled else ""

    def __call__(self, completion: str) -> Score:
        text = self._prefix + completion
        wrong = {mark: count for mark in self._marks if (count := text.count(mark)) != 1}
        explanation = ", ".join(f"{mark} stands {count} times" for mark, count in wrong.items())
        return Score(1 - len(wrong) / len(self._marks), explanation=explanation)
