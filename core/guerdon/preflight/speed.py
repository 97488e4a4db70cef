"""Measure a stage's verifiers on the completions that the other checks try."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from guerdon.manifest.plan import StagePlan
from guerdon.plugins.signatures import is_async
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.trials import Trials

_COMPLETIONS = 1000
_SECONDS = 1.0
"""Less of a worker's time for so many completions is not mentioned."""


def measured(site: Site, stage: StagePlan, trials: Trials) -> Iterator[Finding]:
    """Yield what the verdicts of the stage's verifiers take, where it is worth knowing.

    A sync verifier occupies a worker. Calls of an async one wait at the same time, so their times do not add up.

    Args:
        site: The stage's site.
        stage: The stage.
        trials: What has tried its verifiers.
    """
    working: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for entry in stage.entries:
        times = [time for time in trials.latencies(entry) if time]  # a score from the cache took none
        if times:
            loaded = entry.component.loaded
            called = loaded.__call__ if isinstance(loaded, type) else loaded
            (waiting if is_async(called) else working)[entry.name] = median(times)
    seconds = sum(working.values()) * _COMPLETIONS / 1000
    parts = []
    if seconds >= _SECONDS:
        parts.append(
            f"{_COMPLETIONS:,} completions take one worker {_short(seconds)} s ({_listed(working)} a verdict), and "
            "there is one for each CPU unless 'scoring' sets 'workers'"
        )
    if waiting:
        parts.append(f"async verdicts take {_listed(waiting)}, many at the same time")
    if parts:
        yield site.finding(Level.MEASURE, f"{'; '.join(parts)} (medians).")


def _listed(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {_short(value)} ms" for name, value in times.items())


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1g}"
