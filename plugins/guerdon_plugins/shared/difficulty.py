"""Draw rows by their difficulty: by the pass rate that a model had on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

from guerdon.errors import DataError

__all__ = ["COLUMN", "Bands"]

COLUMN = "pass_rate"
"""The column that ``guerdon profile`` writes."""

_KEYS = ("from", "to", "weight")

LocatedRow = tuple[str, dict[str, Any]]
"""A row with its place, for errors."""


@dataclass(frozen=True, slots=True)
class _Band:
    low: float
    high: float
    weight: float | None

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Bands:
    """Bands of pass rates."""

    bands: Sequence[_Band]

    @classmethod
    def of(cls, settings: Sequence[Mapping[Any, float]]) -> Bands:
        """Return the bands of a param's value.

        Args:
            settings: For each band ``from``, ``to`` (by default 0 and 1) and perhaps ``weight``.

        Raises:
            ValueError: There are none, an end is outside 0 to 1, or only some have a weight.
        """
        for setting in settings:
            if other := [key for key in setting if key not in _KEYS]:
                raise ValueError(
                    f"difficulty has the key '{other[0]}', and a band has only {', '.join(_KEYS)}."
                )
        bands = [_Band(band.get("from", 0.0), band.get("to", 1.0), band.get("weight")) for band in settings]
        if not bands:
            raise ValueError("difficulty has no band. Give at least one, such as {from: 0.1, to: 0.9}.")
        for band in bands:
            if not 0 <= band.low <= band.high <= 1:
                raise ValueError(
                    f"difficulty has the band {band}: give ends from 0 to 1, the smaller one first."
                )
            if band.weight is not None and not (isfinite(band.weight) and band.weight > 0):
                raise ValueError(f"difficulty has the weight {band.weight:g}: give a number above 0.")
        if len({band.weight is None for band in bands}) > 1:
            raise ValueError("difficulty has bands with and without a weight: give all of them one, or none.")
        return cls(bands)

    def drawn(self, rows: Callable[[], Iterable[LocatedRow]]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the bands, in their order.

        With weights, the rows are read twice and never held in memory. The copies of a row follow each other, and the
        rows with one copy more are spread evenly.

        Args:
            rows: Open the rows.

        Raises:
            DataError: A row has no pass rate, or a band with a weight has no row.
        """
        times = self._times(rows())
        seen: Counter[int] = Counter()
        for where, row in rows():
            band = self._band_of(where, row)
            if band is None:
                continue
            copies = int((seen[band] + 1) * times[band]) - int(seen[band] * times[band])
            seen[band] += 1
            for _ in range(copies):
                yield dict(row)

    def _times(self, rows: Iterable[LocatedRow]) -> list[Fraction]:
        """Return how often the rows of each band are used, 1 or more."""
        weights = [Fraction(str(band.weight)) for band in self.bands if band.weight is not None]
        if not weights:
            return [Fraction(1)] * len(self.bands)
        counts = Counter(self._band_of(where, row) for where, row in rows)
        for number, band in enumerate(self.bands):
            if not counts[number]:
                raise DataError(
                    f"no row has a pass rate in the band {band} of the source's 'difficulty', which has a weight. "
                    "Remove the band, or widen it."
                )
        per_row = [weight / counts[number] for number, weight in enumerate(weights)]
        return [share / min(per_row) for share in per_row]

    def _band_of(self, where: str, row: Mapping[str, Any]) -> int | None:
        value = row.get(COLUMN)
        try:
            rate = (
                float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
            )
        except ValueError:
            rate = None
        if rate is None or not 0 <= rate <= 1:
            problem = f"{COLUMN} is {value!r:.40}" if COLUMN in row else f"has no column '{COLUMN}'"
            raise DataError(
                f"{where}: {problem}, and the source's 'difficulty' needs a number from 0 to 1. "
                "Write the file with 'guerdon profile -o'."
            )
        return next((n for n, band in enumerate(self.bands) if band.low <= rate <= band.high), None)
