"""Measure whether a metric rises or falls, in standard errors.

The statistic is that of the permutation test of a correlation. If the order of the values says nothing, it has mean 0
and variance 1, whatever the values' distribution. It is at most ``sqrt(n - 1)``, so a few values say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Measured", "trend", "trend_of_means"]


def trend(values: Sequence[float]) -> float:
    """Return by how many standard errors a metric rises over successive steps.

    ``z = r sqrt(n' - 1)`` with the correlation ``r`` of the values with their places. Values of neighbouring steps
    resemble each other: with the autocorrelation ``a`` at lag 1, ``n`` values count as ``n' = n (1 - a) / (1 + a)``
    (Bartlett 1935). ``a`` is estimated around the fitted line. This estimate is too low by about ``(2 + 4 a) / n``,
    which is added; a negative one counts as 0.

    Args:
        values: The values, in order.

    Returns:
        The statistic; 0 for fewer than 3 values, and for equal ones.
    """
    count = len(values)
    if count < 3:
        return 0.0
    mean = math.fsum(values) / count
    rest = [value - mean for value in values]
    squares = math.fsum(d * d for d in rest)
    places = [place - (count - 1) / 2 for place in range(count)]
    length = math.fsum(place * place for place in places)
    together = math.fsum(place * d for place, d in zip(places, rest, strict=True))
    if squares <= 1e-18 * count * mean * mean:  # equal, but for rounding
        return 0.0
    correlation = max(-1.0, min(1.0, together / math.sqrt(length) / math.sqrt(squares)))
    left = [d - together / length * place for place, d in zip(places, rest, strict=True)]
    return correlation * math.sqrt(max(0.0, count * _independent_share(left, squares) - 1))


def _independent_share(left: Sequence[float], squares: float) -> float:
    """Return the share of independent values.

    Args:
        left: What a fitted line leaves of the values.
        squares: The sum of the squared distances from their mean.
    """
    count = len(left)
    own = math.fsum(d * d for d in left)
    if own <= 1e-18 * squares:  # they are a line, but for rounding
        return 1.0
    estimated = math.fsum(a * b for a, b in pairwise(left)) / own
    resemblance = max(0.0, min(1.0, estimated + (2 + 4 * estimated) / count))
    return (1 - resemblance) / (1 + resemblance)


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean of several values that were measured at one step."""

    step: int
    mean: float
    variance: float
    """The mean squared distance from the mean."""
    count: float
    """The number of values."""


def trend_of_means(points: Sequence[Measured]) -> float:
    """Return by how many standard errors the means rise over their steps.

    ``z = sum n (x - x̄) m / sqrt(s² sum n (x - x̄)²)``, where ``s²`` is the variance of all values as one sample. For
    values of 0 and 1 it is the trend test of Cochran and Armitage (1955).

    Args:
        points: The means.

    Returns:
        The statistic; 0 if all values are equal, or of one step.
    """
    total = math.fsum(point.count for point in points)
    if total == 0:
        return 0.0
    middle = math.fsum(point.count * point.step for point in points) / total
    mean = math.fsum(point.count * point.mean for point in points) / total
    spread = math.fsum(point.count * (point.variance + (point.mean - mean) ** 2) for point in points) / total
    length = math.fsum(point.count * (point.step - middle) ** 2 for point in points)
    together = math.fsum(point.count * (point.step - middle) * (point.mean - mean) for point in points)
    if length <= 0 or spread <= 1e-18 * mean * mean:
        return 0.0
    return together / math.sqrt(spread * length)
