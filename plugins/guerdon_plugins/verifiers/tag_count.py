"""``tag_count``: the share of expected tags in the right place, around readable content."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guerdon import Score
from guerdon.text import tag_marks
from guerdon_plugins.shared.visible import without_invisible


class TagCount:
    """Scores the share of tags that are opened once and closed once, in order, around readable content.

    Open-R1's ``tag_count`` rewards every mark that occurs once, even if empty or out of order, which can be exploited.
    This
    verifier gives a model that does not write the tags yet a gradual reward. Text outside the tags is not a fault;
    ``format`` is stricter.

    Args:
        tags: The tags, in order: names, ``think``, or marks, ``[THINK] [/THINK]``.
        prefilled: Whether the chat template has already opened the first tag, so that a completion must not.

    Raises:
        ValueError: ``tags`` is empty, or holds something that is not a tag.
    """

    audit_kind = "format"

    def __init__(self, tags: Sequence[str] = ("think", "answer"), prefilled: bool = False) -> None:
        if not tags:
            raise ValueError("tags is empty; name at least one, such as [think, answer]")
        self._pairs = [tag_marks(tag) for tag in tags]
        self._prefix = self._pairs[0][0] if prefilled else ""

    def __call__(self, completion: str) -> Score:
        text = self._prefix + completion
        faults = []
        end = 0
        for opening, closing in self._pairs:
            fault = _fault(text, opening, closing, end)
            if fault is None:
                end = text.index(closing)
            else:
                faults.append(fault)
        return Score(1 - len(faults) / len(self._pairs), explanation=", ".join(faults))


def _fault(text: str, opening: str, closing: str, earliest: int) -> str | None:
    for mark in (opening, closing):
        if (count := text.count(mark)) != 1:
            return f"{mark} occurs {count} times"
    start, end = text.index(opening), text.index(closing)
    if start < earliest or end < start:
        return f"{opening} is out of order"
    inside = without_invisible(text[start + len(opening) : end])
    return None if _WORD.search(inside) else f"{opening} has nothing to read"


_WORD = re.compile(r"[^\W_]")
