"""Split a micro-batch into parts of at most so many tokens.

Each part goes forward and backward by itself, so its tokens bound the memory of the activations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from guerdon.grpo.host import Numbers

__all__ = ["flat_parts", "padded_parts"]


def flat_parts(prompt_of: Numbers, prompt_lengths: Numbers, fed: Numbers, budget: int) -> list[Numbers]:
    """Return the rows of each part of a flat batch. The completions of one prompt follow each other.

    The number of parts is the smallest one in this order, and the largest part is as small as it can then be.

    Args:
        prompt_of: The number of each row's prompt. Rows of one part and one prompt share it.
        prompt_lengths: The length of each row's prompt.
        fed: The tokens of each row's completion that go through the model.
        budget: The most tokens of a part. A longer row is a part of its own.
    """
    order = np.argsort(prompt_of, kind="stable")

    def parts(most: int) -> list[Numbers]:
        def fits(part: list[int], row: int) -> bool:
            rows = np.array([*part, row])
            _, first = np.unique(prompt_of[rows], return_index=True)
            return int(prompt_lengths[rows[first]].sum() + fed[rows].sum()) <= most

        return list(_greedy(order, fits))

    return _balanced(parts, budget)


def padded_parts(prompt_lengths: Numbers, lengths: Numbers, budget: int) -> list[Numbers]:
    """Return the rows of each part of a padded batch, from the longest rows to the shortest.

    A row has at least half the tokens of its part's longest one. So padding at most doubles a row that is not the
    longest, as in the blocks of flat attention.

    Args:
        prompt_lengths: The length of each row's prompt.
        lengths: The length of each row's completion.
        budget: The most tokens of a part, padding included. A longer row is a part of its own.
    """
    tokens = prompt_lengths + lengths
    order = np.argsort(-tokens, kind="stable")

    def fits(part: list[int], row: int) -> bool:
        rows = np.array([*part, row])
        longest = int(prompt_lengths[rows].max() + lengths[rows].max())
        return len(rows) * longest <= budget and 2 * tokens[row] >= longest

    return list(_greedy(order, fits))


def _greedy(order: Numbers, fits: Callable[[list[int], int], bool]) -> Iterator[Numbers]:
    part: list[int] = []
    for row in order.tolist():
        if part and not fits(part, row):
            yield np.array(part)
            part = []
        part.append(row)
    if part:
        yield np.array(part)


def _balanced(parts: Callable[[int], list[Numbers]], budget: int) -> list[Numbers]:
    """Return as many parts as the budget needs, with the smallest bound that needs no more."""
    best = parts(budget)
    too_small, enough = 0, budget
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        tried = parts(middle)
        if len(tried) > len(best):
            too_small = middle
        else:
            best, enough = tried, middle
    return best
