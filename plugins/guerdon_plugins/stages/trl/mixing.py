"""Mix the rows of several sources for training: a number of epochs of each, or shares of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from guerdon import Row
from guerdon.errors import DataError


def mixed(
    sources: Sequence[Callable[[], Iterator[Row]]],
    *,
    epochs: Sequence[float] | None,
    weights: Sequence[float] | None,
    seed: int,
) -> list[Row]:
    """Return the rows to train on, each source's as often as requested.

    Args:
        sources: The stage's data.
        epochs: How often each source's rows are used; 0.5 is a random half of them.
        weights: The sources' shares of the whole. The source that is largest for its share is used once, so no row is
            lost.
        seed: The seed for the choice of rows for a fraction.

    Raises:
        DataError: There are not as many numbers as sources.
    """
    parts = [list(open_source()) for open_source in sources]
    times = epochs or weights
    if times is None:
        return [row for part in parts for row in part]
    if len(times) != len(parts):
        raise DataError(
            f"{'epochs' if epochs else 'weights'} has {len(times)} numbers, and the stage has {len(parts)} data "
            "entries. Give one number for each, in their order."
        )
    if weights:
        per_row = [weight / len(part) for weight, part in zip(weights, parts, strict=True)]
        times = [share / min(per_row) for share in per_row]
    rng = Random(seed)
    rows: list[Row] = []
    for part, count in zip(parts, times, strict=True):
        rows += part * int(count)
        rows += rng.sample(part, round((count - int(count)) * len(part)))
    return rows
