"""Watch the metrics of a stage while it trains, and raise an alarm where they say that it goes wrong.

Two kinds of findings, by the statistics of ``guerdon.run.trend``:

- What is trained on rises while an entry that is not falls: one of weight 0, or one of the evaluation.
- The length, the entropy or a failure rate drifts.

Each metric of a stage raises one alarm.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from guerdon.hookspecs import Alarm
from guerdon.run.trend import Measured, trend, trend_of_means

__all__ = ["Watch"]

ALONE = 6.0
"""The least trend of one metric, in standard errors."""
APART = 5.0
"""The least trend of each of two metrics that move apart over the steps."""
APART_EVALUATED = 4.0
"""The same since an evaluation. There are fewer evaluations than steps, so it is tried less often."""
FEWEST = 40
"""The least number of logged steps that are looked at."""

FACTORS = {"completions/mean_length": 2.0, "entropy": 4.0}
"""The metrics that may not drift, and the factor by which they must have changed."""
MORE_FAILURES = 0.05
"""The least rise of a failure rate."""

_EVALUATED, _ENTRY, _MEAN, _FAILURES = "evaluation/", "rewards/", "/mean", "/failure_rate"


@dataclass(slots=True)
class _Series:
    """The values of a metric."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> bool:
        """Add a value, and return whether it is time for a look at the series."""
        if self.steps and self.steps[-1] >= step:
            return False
        self.steps.append(step)
        self.values.append(value)
        count = len(self.steps)
        return count >= FEWEST and count % max(5, count // 50) == 0

    def between(self, first: int, last: int) -> Sequence[float]:
        """Return the values of the steps from the first to the last."""
        return self.values[bisect_left(self.steps, first) : bisect_right(self.steps, last)]


class Watch:
    """Collects the metrics of one stage and returns its alarms.

    Args:
        trained: The names of the rubric's entries that the stage trains on.
        held_out: The names of those of weight 0.
        raised: The metrics of this stage that have raised an alarm before.
    """

    def __init__(
        self, trained: Collection[str], held_out: Collection[str], raised: Collection[str] = ()
    ) -> None:
        self._trained = ["reward", *(f"{_ENTRY}{name}{_MEAN}" for name in trained)]
        self._held_out = {f"{_ENTRY}{name}{_MEAN}": name for name in held_out}
        self._raised = set(raised)
        self._series: dict[str, _Series] = {}
        self._evaluated: dict[str, list[Measured]] = {}

    def see(self, step: int, metrics: Mapping[str, float]) -> list[Alarm]:
        """Take the metrics of a step, and return the alarms that they raise.

        Args:
            step: The step.
            metrics: Its metrics. Those that are not finite are left out.
        """
        due = [
            name
            for name, value in metrics.items()
            if self._is_watched(name)
            and math.isfinite(value)
            and self._series.setdefault(name, _Series()).add(step, value)
        ]
        alarms: list[Alarm] = []
        for name in due:
            alarms += self._gamed(name) if name in self._held_out else self._drifted(name)
        for name in metrics:
            if name.startswith(f"{_EVALUATED}{_ENTRY}") and name.endswith(_MEAN):
                alarms += self._gamed_evaluation(name.removesuffix(_MEAN), step, metrics)
        new = [alarm for alarm in alarms if alarm.metric not in self._raised]
        self._raised |= {alarm.metric for alarm in new}
        return new

    def _is_watched(self, name: str) -> bool:
        return name in self._trained or name in self._held_out or name in FACTORS or _is_failure_rate(name)

    def _gamed(self, name: str) -> Iterator[Alarm]:
        """Compare an entry of weight 0 with what is trained on, over the last steps and over more of them."""
        series = self._series[name]
        for count in _lengths(len(series.steps), FEWEST):
            values, first, last = series.values[-count:], series.steps[-count], series.steps[-1]
            if trend(values) <= -APART and (rises := self._rises(first, last, APART)):
                what = f"'{self._held_out[name]}', which has weight 0,"
                before, now = _ends(values)
                yield _moved_apart(name, last, what, (before, now), first, rises)
                return

    def _gamed_evaluation(self, entry: str, step: int, metrics: Mapping[str, float]) -> Iterator[Alarm]:
        """Compare an entry of the evaluation with what is trained on, since earlier evaluations."""
        values = [metrics.get(f"{entry}/{part}", math.nan) for part in ("mean", "std", "count")]
        known = self._evaluated.setdefault(entry, [])
        if not all(map(math.isfinite, values)) or (known and known[-1].step >= step):
            return
        mean, deviation, count = values
        known.append(Measured(step, mean, deviation**2, count))
        for length in _lengths(len(known), 2):
            points = known[-length:]
            falls = trend_of_means(points) <= -APART_EVALUATED
            if falls and (rises := self._rises(points[0].step + 1, step, APART_EVALUATED)):
                what = f"'{entry.removeprefix(_EVALUATED + _ENTRY)}' of the evaluation"
                ends = (points[0].mean, mean)
                yield _moved_apart(f"{entry}{_MEAN}", step, what, ends, points[0].step, rises)
                return

    def _rises(self, first: int, last: int, least: float) -> str:
        """Return what rises by so much between two steps, of what is trained on, or nothing."""
        for name in self._trained:
            values = self._series[name].between(first, last) if name in self._series else []
            if trend(values) >= least:
                before, now = _ends(values)
                what = (
                    "the reward" if name == "reward" else f"'{name.removeprefix(_ENTRY).removesuffix(_MEAN)}'"
                )
                return f"{what} rises ({before:.3g} to {now:.3g})"
        return ""

    def _drifted(self, name: str) -> Iterator[Alarm]:
        """Compare the last steps of a metric with its first ones."""
        series = self._series[name]
        if name in self._trained:
            return
        before, now = _ends(series.values)
        if _matters(name, before, now) and abs(trend(series.values)) >= ALONE:
            kind, what = _kind(name)
            verb = "rises" if now > before else "falls"
            message = f"{what} {verb} from {before:.3g} to {now:.3g} since step {series.steps[0]}."
            yield Alarm(kind, name, series.steps[-1], before, now, message)


def _lengths(count: int, fewest: int) -> Iterator[int]:
    """Yield how many of the last values to look at: the fewest, twice as many, and so on, and all."""
    length = fewest
    while length < count:
        yield length
        length *= 2
    if count >= fewest:
        yield count


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the means of the first and of the last tenth of values, of 10 at least."""
    size = max(10, len(values) // 10)
    return math.fsum(values[:size]) / len(values[:size]), math.fsum(values[-size:]) / len(values[-size:])


def _matters(name: str, before: float, now: float) -> bool:
    """Return whether a change is large enough, and in a direction that is bad."""
    if _is_failure_rate(name):
        return now - before >= MORE_FAILURES
    factor = FACTORS[name]
    return now >= factor * before or factor * now <= before


def _is_failure_rate(name: str) -> bool:
    return name.startswith(_ENTRY) and name.endswith(_FAILURES)


def _kind(name: str) -> tuple[str, str]:
    if _is_failure_rate(name):
        return "failure_rate", f"the failure rate of '{name.removeprefix(_ENTRY).removesuffix(_FAILURES)}'"
    return ("entropy", "the entropy") if name == "entropy" else ("length", "the mean length of completions")


def _moved_apart(
    metric: str, step: int, what: str, ends: tuple[float, float], since: int, rises: str
) -> Alarm:
    before, now = ends
    message = (
        f"since step {since}, {rises} while {what} falls ({before:.3g} to {now:.3g}). "
        "The policy may exploit its rewards: read its rollouts with 'guerdon view'."
    )
    return Alarm("held_out_falls", metric, step, before, now, message)
