"""Convert a reward model's numbers to rewards of a scale that a rubric can weight."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from guerdon.data.json_values import parse_object
from guerdon.files import replaced

Normalize = Callable[[Sequence[float]], list[float]]


def sigmoid(values: Sequence[float]) -> list[float]:
    """Return each value mapped to between 0 and 1."""
    return [0.5 * (1 + math.tanh(value / 2)) for value in values]  # exp would overflow


def clipped(values: Sequence[float], bound: float | None) -> Sequence[float]:
    """Return each value, limited to ``bound`` from 0."""
    return values if bound is None else [max(-bound, min(bound, value)) for value in values]


@dataclass(frozen=True, slots=True)
class Moments:
    """Running sums for a mean and a standard deviation, by the method of Welford and Chan."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """The sum of squared distances from the mean."""

    def with_values(self, values: Sequence[float]) -> Moments:
        if not values:
            return self
        count = self.count + len(values)
        own_mean = math.fsum(values) / len(values)
        own_squares = math.fsum((value - own_mean) ** 2 for value in values)
        shift = own_mean - self.mean
        return Moments(
            count,
            self.mean + shift * len(values) / count,
            self.squares + own_squares + shift**2 * self.count * len(values) / count,
        )

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else 0.0


class RunningZScore:
    """Distances from the running mean, in running standard deviations, with the new values included.

    After each call the moments are saved with the call's step. A resumed training continues with the moments before its
    first step, so it computes the same rewards as an uninterrupted one. Each process of a distributed training has its
    own
    moments.

    Args:
        folder: The folder to write to; ``None`` to save nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / f"zscore-{os.environ.get('RANK', '0')}.jsonl" if folder is not None else None
        self._moments: Moments | None = None

    def __call__(self, values: Sequence[float], step: int) -> list[float]:
        if self._moments is None:
            self._moments = self._recall(step)
        self._moments = self._moments.with_values(values)
        self._note(step)
        mean, deviation = self._moments.mean, self._moments.deviation
        return [(value - mean) / deviation if deviation else 0.0 for value in values]

    def _recall(self, step: int) -> Moments:
        """Return the moments before a step, and forget later ones."""
        if self._file is None or not self._file.exists():
            return Moments()
        lines = [parse_object(line) for line in self._file.read_text(errors="replace").splitlines()]
        # a kill may leave an incomplete line
        before = [line for line in lines if line is not None and line["step"] < step]
        with replaced(self._file) as partial:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in before))
        if not before:
            return Moments()
        noted = before[-1]
        return Moments(noted["count"], noted["mean"], noted["squares"])

    def _note(self, step: int) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, **asdict(self._moments or Moments())}) + "\n")
