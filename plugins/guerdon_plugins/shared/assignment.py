"""Pair rows with columns one to one, so that the sum of their values is the largest."""

from __future__ import annotations

from collections.abc import Sequence


def best_pairs(values: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the pairs of a row and a column that have the largest sum.

    It is the Hungarian method with potentials (Kuhn 1955, Munkres 1957), in cubic time.

    Args:
        values: The value of each pair: a row for each item of one side, with a number for each item of the other.
    """
    if not values or not values[0]:
        return []
    if len(values) > len(values[0]):
        flipped = [[row[column] for row in values] for column in range(len(values[0]))]
        return sorted((row, column) for column, row in best_pairs(flipped))
    width = len(values[0])
    rows, columns = [0.0] * (len(values) + 1), [0.0] * (width + 1)
    owner, before = [0] * (width + 1), [0] * (width + 1)
    for row in range(1, len(values) + 1):
        owner[0], column = row, 0
        least = [float("inf")] * (width + 1)
        done = [False] * (width + 1)
        while owner[column]:
            done[column] = True
            current, gap, following = owner[column], float("inf"), 0
            for other in range(1, width + 1):
                if done[other]:
                    continue
                cost = -values[current - 1][other - 1] - rows[current] - columns[other]
                if cost < least[other]:
                    least[other], before[other] = cost, column
                if least[other] < gap:
                    gap, following = least[other], other
            for other in range(width + 1):
                if done[other]:
                    rows[owner[other]] += gap
                    columns[other] -= gap
                else:
                    least[other] -= gap
            column = following
        while column:
            owner[column] = owner[before[column]]
            column = before[column]
    return sorted((owner[column] - 1, column - 1) for column in range(1, width + 1) if owner[column])
