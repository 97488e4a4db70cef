"""Intervals and p-values over prompts: the percentile bootstrap and the sign-flip permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import fsum
from typing import TypeAlias

__all__ = ["Part", "intervals", "ratio", "sign_flip_p"]

Part: TypeAlias = tuple[float, int]
"""One prompt's part of a mean: the sum of its values, and their number, which may be 0."""

DRAWS = 2000
"""The number of bootstrap resamples."""

FLIPS = 9999
"""The number of random sign flips. With fewer possible ones, all are tried."""

_LEVELS = (0.025, 0.975)
"""The percentiles of an interval of 95%."""

_AT_ONCE = 4_000_000
"""The most numbers of resamples in memory."""

_ROUNDING = 1e-9
"""Sums that differ by this share are equal: the order of an addition changes its last digits."""


def ratio(parts: Sequence[Part]) -> float | None:
    """Return the mean of all values of some prompts, or ``None`` if there are none."""
    count = sum(count for _, count in parts)
    return fsum(total for total, _ in parts) / count if count else None


def intervals(measures: Sequence[Sequence[Part]], seed: int) -> list[tuple[float, float] | None]:
    """Return a 95% interval of each measure's mean, by the percentile bootstrap over prompts.

    The prompts are drawn with replacement, each with all of its values (Efron 1979, as a cluster bootstrap). All
    measures share the resamples.

    Args:
        measures: [measures, prompts]. Each measure has the same prompts.
        seed: The seed of the resamples. The same arguments give the same intervals on each machine.

    Returns:
        The lowest and the highest value, or ``None`` where fewer than two prompts have values.
    """
    import numpy as np

    if not measures:
        return []
    totals = np.array([[total for total, _ in parts] for parts in measures])
    counts = np.array([[float(count) for _, count in parts] for parts in measures])
    prompts = totals.shape[1]
    random = np.random.default_rng(seed)
    means = np.full((len(measures), DRAWS), np.nan)
    size = max(1, _AT_ONCE // max(1, prompts))
    for start in range(0, DRAWS if prompts else 0, size):
        end = min(start + size, DRAWS)
        drawn = random.integers(prompts, size=(end - start, prompts))
        places = drawn + np.arange(end - start)[:, None] * prompts
        times = np.bincount(places.ravel(), minlength=places.size).reshape(places.shape).astype(float)
        # einsum adds in one order on each machine; a matrix product would not.
        above, below = (np.einsum("dp,mp->md", times, part) for part in (totals, counts))
        np.divide(above, below, out=means[:, start:end], where=below > 0)
    found: list[tuple[float, float] | None] = []
    for row, own in zip(means, counts, strict=True):
        if (own > 0).sum() < 2:
            found.append(None)
            continue
        low, high = np.nanquantile(row, _LEVELS)
        found.append((float(low), float(high)))
    return found


def sign_flip_p(differences: Sequence[float], seed: int) -> float:
    """Return the two-sided p-value of a mean difference of pairs, by flipping the signs of differences.

    If both sides are equally good, each prompt's difference has either sign with the same probability (Fisher 1935).
    The p-value is the share of sign flips whose sum is at least as far from 0 as the sum of the differences. All flips
    are tried if there are at most ``FLIPS``; otherwise random ones, with (hits + 1) / (flips + 1).

    Args:
        differences: One for each prompt.
        seed: The seed of the random flips.
    """
    unequal = [value for value in differences if value != 0]
    least = abs(fsum(unequal)) - _ROUNDING * fsum(map(abs, unequal))
    if 2 ** len(unequal) <= FLIPS:
        flips = list(product((1, -1), repeat=len(unequal)))
        sums = (fsum(sign * value for sign, value in zip(signs, unequal, strict=True)) for signs in flips)
        return sum(abs(one) >= least for one in sums) / len(flips)
    import numpy as np

    values = np.array(unequal)
    random = np.random.default_rng(seed)
    hits = 0
    size = max(1, _AT_ONCE // len(values))
    for start in range(0, FLIPS, size):
        count = min(size, FLIPS - start)
        bits = random.integers(2, size=(count, len(values)), dtype=np.int8)
        hits += int((np.abs(np.einsum("fp,p->f", 2.0 * bits - 1.0, values)) >= least).sum())
    return (hits + 1) / (FLIPS + 1)
