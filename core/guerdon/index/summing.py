"""Sum up a run from its index: curves, histograms, the entries' health, and two sides on the same prompts."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.index.building import CORRECTIONS, LATENCY_BUCKETS, LENGTH, REWARD
from guerdon.index.filters import Filters
from guerdon.index.records import OUTCOMES
from guerdon.index.selecting import Names, conditions
from guerdon.index.store import RunIndex
from guerdon.run.log import RunEvents, fold_events
from guerdon.types import Outcome

Curve = Sequence[tuple[float, float]]
"""Steps and values."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What an index has, for menus."""

    names: Names
    rollouts: Mapping[str, int]
    """Rollouts by stage."""
    unreadable: int
    """Lines that cannot be read."""
    steps: Mapping[str, tuple[int, int]]
    """First and last step by stage."""


def overview(index: RunIndex) -> Overview:
    """Return what an index has."""

    def answer(db: sqlite3.Connection) -> Overview:
        names = Names.read(db)
        counts = dict(db.execute("select name, lines - unreadable from files where name != ''"))
        unreadable = db.execute("select ifnull(sum(unreadable), 0) from files").fetchone()[0]
        numbers = {number: name for name, number in names.stages.items()}
        ends = db.execute("select stage, min(step), max(step) from sums group by stage")
        steps = {numbers[stage]: (first, last) for stage, first, last in ends if stage in numbers}
        return Overview(names, counts, unreadable, steps)

    return index.read(answer)


def run_events(index: RunIndex) -> RunEvents:
    """Return the run's events, without the metrics of each step."""

    def answer(db: sqlite3.Connection) -> RunEvents:
        lines = db.execute("select line from events order by place")
        return fold_events(event for (line,) in lines if (event := parse_object(line)) is not None)

    return index.read(answer)


def metric_names(index: RunIndex) -> dict[str, list[str]]:
    """Return the names of the metrics of each stage."""

    def answer(db: sqlite3.Connection) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        row = db.execute("select stage, name from metrics order by stage, name limit 1").fetchone()
        while row is not None:  # skips from name to name, whatever the number of steps
            names.setdefault(row[0], []).append(row[1])
            row = db.execute(
                "select stage, name from metrics where (stage, name) > (?, ?) order by stage, name limit 1",
                row,
            ).fetchone()
        return names

    return index.read(answer)


MOST_POINTS = 400
"""A curve has at most about this many points; each is the mean over some steps."""


def metric_curve(index: RunIndex, stage: str, name: str) -> Curve:
    """Return one metric of a stage over its steps, with the mean of some steps where there are many."""

    def answer(db: sqlite3.Connection) -> Curve:
        where = "from metrics where stage = ? and name = ?"
        count, first, last = db.execute(
            f"select count(*), min(step), max(step) {where}", [stage, name]
        ).fetchone()
        if not count:
            return []
        width = 1 if count <= MOST_POINTS else -(-(last - first + 1) // MOST_POINTS)
        query = f"select max(step), avg(value) {where} group by (step - ?) / ? order by 1"
        return db.execute(query, [stage, name, first, width]).fetchall()

    return index.read(answer)


def last_metric(index: RunIndex, stage: str, name: str) -> float | None:
    """Return the value of a metric that a stage logged last."""
    query = "select value from metrics where stage = ? and name = ? order by step desc limit 1"
    row = index.read(lambda db: db.execute(query, [stage, name]).fetchone())
    return None if row is None else float(row[0])


MEASURES = {"reward": REWARD, "length": LENGTH, "self-correction": CORRECTIONS}
"""What rollouts have beside their entries' values."""


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
        curves: dict[str, list[tuple[float, float]]] = {}
        for step, task, total, scored in db.execute(
            "select step, task, sum(total), sum(scored) from sums where stage = ? and entry = ? "
            f"group by step{', task' if by_task else ''} order by step",
            [names.stages.get(stage, -1), entry],
        ):
            if scored:
                label = tasks.get(task, "no task") if by_task else measure
                curves.setdefault(label, []).append((step, total / scored))
        return dict(sorted(curves.items()))

    return index.read(answer)


def generated_tokens(index: RunIndex, stage: str) -> int:
    """Return the number of tokens in all completions of a stage."""

    def answer(db: sqlite3.Connection) -> int:
        query = "select ifnull(sum(total), 0) from sums where stage = ? and entry = ?"
        return int(db.execute(query, [Names.read(db).stages.get(stage, -1), LENGTH]).fetchone()[0])

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
class Histogram:
    """The rewards of a stage over its steps."""

    steps: Sequence[tuple[int, int]]
    """First and last step of each column."""
    edges: Sequence[float]
    """The bins' limits, one more than there are bins."""
    counts: Sequence[Sequence[int]]
    """Rollouts by column and bin."""


COLUMNS, BINS = 40, 20


def reward_histogram(index: RunIndex, stage: str) -> Histogram | None:
    """Return how many rollouts of each step had which reward, or ``None`` if none had one."""

    def answer(db: sqlite3.Connection) -> Histogram | None:
        number = Names.read(db).stages.get(stage, -1)
        first, last, least, most = db.execute(
            "select min(step), max(step), min(reward), max(reward) from rewards where stage = ?", [number]
        ).fetchone()
        if first is None:
            return None
        width = -(-(last - first + 1) // COLUMNS)
        span = (most - least) or 1.0
        columns = -(-(last - first + 1) // width)
        counts = [[0] * BINS for _ in range(columns)]
        for column, place, found in db.execute(
            "select (step - ?) / ?, min(cast((reward - ?) / ? * ? as integer), ?), sum(count) from rewards "
            "where stage = ? group by 1, 2",
            [first, width, least, span, BINS, BINS - 1, number],
        ):
            counts[column][place] += found
        steps = [(first + n * width, min(last, first + (n + 1) * width - 1)) for n in range(columns)]
        return Histogram(steps, [least + span * n / BINS for n in range(BINS + 1)], counts)

    return index.read(answer)


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


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: some rollouts of a run, and what is compared."""

    index: RunIndex
    filters: Filters
    """The stage, model and steps."""
    measure: str = "reward"
    """``reward``, or an entry, whose values are compared."""


@dataclass(frozen=True, slots=True)
class PromptPair:
    """One prompt on both sides."""

    prompt: str
    digest: str
    means: tuple[float, float]
    counts: tuple[int, int]

    @property
    def change(self) -> float:
        """Return how much larger the second side's mean is."""
        return self.means[1] - self.means[0]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides on the prompts that both have."""

    prompts: int
    better: int
    worse: int
    flipped_up: int
    """Prompts whose mean rose over the threshold."""
    flipped_down: int
    means: tuple[float | None, float | None]
    pairs: Sequence[PromptPair]
    """The prompts with the largest changes."""


def compare(first: Side, second: Side, threshold: float = 0.5, size: int = 100) -> Comparison:
    """Return how two sides did on the prompts that both have.

    Args:
        first: One side.
        second: The other.
        threshold: A prompt flips if one side's mean is at least this, and the other's is not.
        size: The most pairs.
    """

    def answer(db: sqlite3.Connection) -> Comparison:
        db.execute("attach ? as other", [str(second.index.path)])
        one, one_given = _means(db, first, "main")
        two, two_given = _means(db, second, "other")
        db.execute(
            f"create temp table pairs as select one.digest as digest, one.text as text, one.mean as a, two.mean as b, "
            f"one.count as m, two.count as n from ({one}) as one join ({two}) as two using (digest)",
            [*one_given, *two_given],
        )
        prompts, better, worse, up, down, first_mean, second_mean = db.execute(
            "select count(*), ifnull(sum(b > a), 0), ifnull(sum(b < a), 0), ifnull(sum(a < ? and b >= ?), 0), "
            "ifnull(sum(a >= ? and b < ?), 0), avg(a), avg(b) from pairs",
            [threshold] * 4,
        ).fetchone()
        rows = db.execute(
            "select text, digest, a, b, m, n from pairs where a != b order by (a < ?) != (b < ?) desc, "
            "abs(b - a) desc, digest limit ?",
            [threshold, threshold, size],
        )
        pairs = [PromptPair(text, digest.hex(), (a, b), (m, n)) for text, digest, a, b, m, n in rows]
        return Comparison(prompts, better, worse, up, down, (first_mean, second_mean), pairs)

    second.index.read(Names.read)  # creates it if it was lost
    return first.index.read(answer)


def _means(db: sqlite3.Connection, side: Side, schema: str) -> tuple[str, list[Any]]:
    names = Names.read(db, schema)
    condition, given = conditions(names, side.filters, schema)
    number = names.entries.get(side.measure)
    column = "reward" if side.measure == "reward" else f"value_{number}" if number else "null"
    return (
        f"select digest, text, mean, count from (select prompt, avg({column}) as mean, count({column}) as count "
        f"from {schema}.rollouts where {condition} and {column} is not null group by prompt) "
        f"join {schema}.prompts using (prompt)",
        given,
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of one entry's values for one model, with its 95% interval over prompts."""

    model: str
    entry: str
    prompts: int
    mean: float
    low: float
    high: float


_Z = 1.96
"""Standard errors in half of a 95% interval of the normal distribution."""


def evaluation(index: RunIndex, stage: str) -> list[Interval]:
    """Return each entry's mean for each model of an evaluation.

    The mean is over the completions of a prompt, then over prompts; its standard error is that of the prompts' means.
    """

    def answer(db: sqlite3.Connection) -> list[Interval]:
        names = Names.read(db)
        models = {number: name for name, number in names.models.items()}
        condition, given = conditions(names, Filters(stage=stage))
        found = []
        for entry, number in names.entries.items():
            rows = db.execute(
                "select model, count(*), avg(mean), avg(mean * mean) from (select model, prompt, "
                f"avg(value_{number}) as mean from rollouts where {condition} and value_{number} is not null "
                "and model != 0 group by model, prompt) group by model",
                given,
            )
            for model, prompts, mean, square in rows:
                half = _Z * math.sqrt(max(square - mean * mean, 0.0) / max(prompts - 1, 1))
                found.append(Interval(models[model], entry, prompts, mean, mean - half, mean + half))
        return found

    return index.read(answer)
