"""Sum up a run's rollouts from its index: curves, histograms, the entries' health, one prompt over the steps."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guerdon.index.building import CORRECTIONS, LATENCY_BUCKETS, LENGTH, REWARD
from guerdon.index.metrics import MOST_POINTS, Curve
from guerdon.index.records import OUTCOMES
from guerdon.index.rows import Names
from guerdon.index.store import RunIndex
from guerdon.types import Outcome


@dataclass(frozen=True, slots=True)
class Overview:
    """What an index has, for menus."""

    names: Names
    rollouts: Mapping[str, int]
    """Rollouts by stage."""
    unreadable: int
    """Lines that cannot be read."""
    cut_off: int
    """Logs whose last line is incomplete: a kill cut it off, or it is being written."""
    steps: Mapping[str, tuple[int, int]]
    """First and last step by stage."""


def overview(index: RunIndex) -> Overview:
    """Return what an index has."""

    def answer(db: sqlite3.Connection) -> Overview:
        names = Names.read(db)
        counts = dict(db.execute("select name, lines - unreadable from files where name != ''"))
        unreadable, cut_off = db.execute(
            "select ifnull(sum(unreadable), 0), ifnull(sum(seen > offset), 0) from files"
        ).fetchone()
        numbers = {number: name for name, number in names.stages.items()}
        ends = db.execute("select stage, min(step), max(step) from sums group by stage")
        steps = {numbers[stage]: (first, last) for stage, first, last in ends if stage in numbers}
        return Overview(names, counts, unreadable, cut_off, steps)

    return index.read(answer)


MEASURES = {"reward": REWARD, "length": LENGTH, "self-correction": CORRECTIONS}
"""What rollouts have in addition to their entries' values."""


def rollout_curves(index: RunIndex, stage: str, measure: str, by_task: bool = False) -> dict[str, Curve]:
    """Return the mean of a measure or of an entry's values over the steps, by task if asked.

    Args:
        index: The index.
        stage: The stage's id.
        measure: A name of ``MEASURES``, or an entry.
        by_task: Whether each task has a curve.
    """

    def answer(db: sqlite3.Connection) -> dict[str, Curve]:
        names = Names.read(db)
        entry = MEASURES.get(measure, names.entries.get(measure))
        tasks = {number: name for name, number in names.tasks.items()}
        key = [names.stages.get(stage, -1), entry]
        where = "from sums where stage = ? and entry = ?"
        first, last = db.execute(f"select min(step), max(step) {where}", key).fetchone()
        width = 1 if first is None else -(-(last - first + 1) // MOST_POINTS)
        curves: dict[str, list[tuple[float, float]]] = {}
        for step, task, total, scored in db.execute(
            f"select max(step), task, sum(total), sum(scored) {where} "
            f"group by (step - ?) / ?{', task' if by_task else ''} order by 1",
            [*key, first, width],
        ):
            if scored:
                label = tasks.get(task, "no task") if by_task else measure
                curves.setdefault(label, []).append((step, total / scored))
        return dict(sorted(curves.items()))

    return index.read(answer)


@dataclass(frozen=True, slots=True)
class EntryHealth:
    """How one entry did in one stage."""

    stage: str
    entry: str
    count: int
    mean: float | None
    """Of its values."""
    outcomes: Mapping[str, int]
    """Counts by outcome."""
    median_ms: float | None
    p95_ms: float | None
    slowest_ms: float | None

    @property
    def failed(self) -> int:
        """Return the number of failed verdicts."""
        return sum(count for name, count in self.outcomes.items() if name.startswith(Outcome.FAILED.value))


def entry_health(index: RunIndex) -> list[EntryHealth]:
    """Return how each entry did in each stage."""

    def answer(db: sqlite3.Connection) -> list[EntryHealth]:
        names = Names.read(db)
        found = []
        for stage, stage_number in names.stages.items():
            for entry, number in names.entries.items():
                key = [stage_number, number]
                where = "where stage = ? and entry = ?"
                outcomes = dict(db.execute(f"select outcome, count from outcomes {where}", key))
                if not outcomes:
                    continue
                total, scored = db.execute(
                    f"select sum(total), sum(scored) from sums {where}", key
                ).fetchone()
                buckets = db.execute(
                    f"select bucket, count from latencies {where} order by bucket", key
                ).fetchall()
                found.append(
                    EntryHealth(
                        *(stage, entry, sum(outcomes.values()), total / scored if scored else None),
                        {OUTCOMES[code]: number for code, number in outcomes.items()},
                        *(_quantile(buckets, share) for share in (0.5, 0.95, 1.0)),
                    )
                )
        return found

    return index.read(answer)


def _quantile(buckets: Sequence[tuple[int, int]], share: float) -> float | None:
    """Return a quantile in milliseconds, right within half a bucket."""
    left = share * sum(count for _, count in buckets)
    for bucket, count in buckets:
        left -= count
        if left <= 1e-9:
            return math.exp(bucket / LATENCY_BUCKETS)
    return None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The rollouts of one prompt in one step."""

    stage: str
    step: int
    group: int | None
    model: str
    count: int
    mean: float | None
    least: float | None
    most: float | None
    length: float


ATTEMPTS_SHOWN = 500


def prompt_history(index: RunIndex, digest: str) -> tuple[str, list[Attempt]]:
    """Return the beginning of a prompt's text, and its rollouts over the steps of all stages."""

    def answer(db: sqlite3.Connection) -> tuple[str, list[Attempt]]:
        names = Names.read(db)
        stages = {number: name for name, number in names.stages.items()}
        models = {number: name for name, number in names.models.items()}
        row = db.execute(
            "select prompt, text from prompts where digest = ?", [bytes.fromhex(digest)]
        ).fetchone()
        if row is None:
            return "", []
        groups = db.execute(
            "select id >> 40, step, grp, model, count(*), avg(reward), min(reward), max(reward), avg(length) "
            "from rollouts where prompt = ? group by 1, 2, 3, 4 order by 1, 2, 3 limit ?",
            [row[0], ATTEMPTS_SHOWN],
        )
        attempts = [
            Attempt(stages.get(s, ""), step, g, models.get(m, ""), *rest) for s, step, g, m, *rest in groups
        ]
        return row[1], attempts

    return index.read(answer)
