"""Find the name that a misspelt word was meant for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest"]


def did_you_mean(word: str, candidates: Collection[str]) -> str:
    """Return `` Did you mean 'x'?`` with the nearest spelling, or nothing."""
    close = nearest(word, candidates)
    return f" Did you mean '{close}'?" if close else ""


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the candidate with the most similar spelling, or ``None`` if none is similar.

    Many equal letters do not suffice: ``teacher`` has most letters of ``use_cache``. One name must contain the other,
    or a third of its letters at most may differ.
    """
    close = get_close_matches(word, list(candidates), n=3, cutoff=cutoff)
    return next((name for name in close if name in word or word in name or _is_misspelt(word, name)), None)


def _is_misspelt(word: str, name: str) -> bool:
    return _edits(word, name) <= max(1, max(len(word), len(name)) // 3)


def _edits(word: str, name: str) -> int:
    """Return how many letters must be inserted, left out, replaced, or swapped with the next to get a name."""
    before: list[int] = []
    last = list(range(len(name) + 1))
    for row, letter in enumerate(word, 1):
        now = [row]
        for column, other in enumerate(name, 1):
            fewest = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == name[column - 2] and word[row - 2] == other:
                fewest = min(fewest, before[column - 2] + 1)
            now.append(fewest)
        before, last = last, now
    return last[-1]
