"""Measure a stage's verifiers on the completions that the other checks try, and say what a run needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median

from guerdon.manifest.plan import StagePlan
from guerdon.manifest.schema import ScoringRef
from guerdon.plugins.signatures import is_async
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.preflight.trials import Trials
from guerdon.scoring.pool import default_workers
from guerdon.scoring.protocol import MAX_CONCURRENT_CALLS

_FAST_MS = 1.0
"""Verifiers that together take less of a worker for each completion are not mentioned."""

_WANTED = 100
"""Completions a second for which the need is named."""


def measured(site: Site, stage: StagePlan, trials: Trials) -> Iterator[Finding]:
    """Yield what the verdicts of the stage's verifiers take, and the workers and requests that a run needs for them.

    Args:
        site: The stage's site.
        stage: The stage.
        trials: What has tried its verifiers.
    """
    shared: dict[str, float] = {}
    waiting: dict[str, float] = {}
    messages = []
    for entry in stage.entries:
        times = [time for time in trials.latencies(entry) if time]  # a score from the cache took none
        if not times:
            continue
        loaded = entry.component.loaded
        called = loaded.__call__ if isinstance(loaded, type) else loaded
        limit: int | None = entry.component.member("max_workers")
        if is_async(called):
            waiting[entry.name] = median(times)
        elif limit is None:
            shared[entry.name] = median(times)
        elif (time := median(times)) >= _FAST_MS:
            workers = f"{limit} worker" if limit == 1 else f"{limit} workers"
            messages.append(
                f"{entry.name} takes {_short(time)} ms a verdict. Its max_workers allows {workers}, which give "
                f"{_short(limit * 1000 / time)} verdicts a second"
            )
    if sum(shared.values()) >= _FAST_MS:
        messages.append(_of_workers(shared, site.plan.manifest.scoring))
    for name, time in waiting.items():
        messages.append(
            f"{name} answers after {_short(time)} ms. {_WANTED} verdicts a second need "
            f"{math.ceil(_WANTED * time / 1000)} requests at the same time, and a worker makes at most "
            f"{MAX_CONCURRENT_CALLS}, which give {_short(MAX_CONCURRENT_CALLS * 1000 / time)} verdicts a second"
        )
    for message in messages:
        yield site.finding(Level.MEASURE, f"{message} (medians).")


def _of_workers(times: Mapping[str, float], scoring: ScoringRef) -> str:
    listed = ", ".join(f"{name} {_short(value)} ms" for name, value in times.items())
    seconds = sum(times.values()) / 1000
    if scoring.ray is not None and scoring.workers is None:
        all_workers = "there is one for each CPU of the Ray cluster"
    else:
        count = scoring.workers or default_workers()
        all_workers = f"this run has {count}, which score {_short(count / seconds)}"
    return (
        f"a worker scores {_short(1 / seconds)} completions a second ({listed} a verdict), and {all_workers}. "
        f"{_WANTED} a second need {math.ceil(_WANTED * seconds)} ('workers' of 'scoring')"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1g}"
