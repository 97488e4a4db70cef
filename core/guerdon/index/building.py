"""Grow the index by what a run has written since."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from guerdon.data.json_values import parse_object
from guerdon.index.columns import COLUMNS, append
from guerdon.index.records import IndexedRollout, read_line, searchable
from guerdon.index.store import LINES, SCORED, RunIndex
from guerdon.run.log import EVENTS, ROLLOUTS

BATCH_LINES = 4000
BATCH_BYTES = 16 * 2**20
"""One transaction reads at most this many lines and, but for its last line, bytes."""

_EVENTS = ""
"""The name of ``events.jsonl`` among the files, where a stage's rollouts have the stage's id."""

_SHOWN = 9
"""How many of ``COLUMNS`` a rollout's row has too: those that pages show."""

PROMPT_SHOWN = 300
"""The characters of a prompt that the index keeps, for lists."""

_TAIL = 96
"""The bytes before the offset that are compared to notice that a file was written again."""

REWARD, LENGTH, CORRECTIONS = 0, -1, -2
"""What ``sums`` adds up in addition to the entries' values: rewards, tokens, words of self-correction."""

LATENCY_BUCKETS = 12
"""Buckets of latencies in a factor of e, so that quantiles are right within 9%."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much of a run's files is indexed."""

    indexed: int
    """Bytes."""
    size: int
    """Bytes of the files."""
    changed: bool
    """Whether the last call read anything."""


def grow(index: RunIndex) -> Growth:
    """Read one batch of each file that has grown."""
    paths = _files(index.run)
    sizes = {name: path.stat().st_size for name, path in paths.items()}

    def change(db: sqlite3.Connection) -> bool:
        gone = [name for (name,) in db.execute("select name from files") if name not in paths]
        for name in gone:
            _forget(db, name)
        changed = [_grow_file(db, name, path) for name, path in paths.items()]
        return bool(gone) or any(changed)

    seen = index.read(lambda db: dict(db.execute("select name, seen from files").fetchall()))
    changed = index.write(change) if seen != sizes else False
    indexed = index.read(lambda db: db.execute("select ifnull(sum(offset), 0) from files").fetchone()[0])
    return Growth(indexed, sum(sizes.values()), changed)


def grow_fully(index: RunIndex, report: Callable[[Growth], None] = lambda _: None) -> Growth:
    """Read everything that a run has written."""
    while (growth := grow(index)).changed:
        report(growth)
    return growth


def _files(run: Path) -> dict[str, Path]:
    """Return the logs of a run by the stage that they belong to; ``events.jsonl`` has no stage."""
    if run.is_file():
        return {SCORED: run}
    paths = {_EVENTS: run / EVENTS} | {
        path.parent.name: path for path in sorted((run / "stages").glob(f"*/{ROLLOUTS}"))
    }
    return {name: path for name, path in paths.items() if path.is_file()}


def _grow_file(db: sqlite3.Connection, name: str, path: Path) -> bool:
    """Read a batch of one file. Return whether anything was read."""
    known = db.execute(
        "select stage, offset, lines, unreadable, tail from files where name = ?", [name]
    ).fetchone()
    try:
        with path.open("rb") as file:
            if known is not None and not _continues(file, known[1], known[4]):
                _forget(db, name)
                known = None
            stage, offset, lines, unreadable, tail = known or (_new_stage(db), 0, 0, 0, b"")
            batch = list(_batch(file, offset))
            read = sum(map(len, batch))
            size = file.seek(0, 2)
            if batch:
                tail = b"".join(batch[-2:])[-_TAIL:]
    except OSError:  # removed since, or not ours to read
        return False
    if name == _EVENTS:
        unreadable += _add_events(db, offset, batch)
    else:
        unreadable += _StageBatch(db, stage).add(offset, lines, batch)
    full = len(batch) == BATCH_LINES or read >= BATCH_BYTES
    db.execute(
        "insert or replace into files values(?, ?, ?, ?, ?, ?, ?)",
        [name, stage, offset + read, offset + read if full else size, lines + len(batch), unreadable, tail],
    )
    return bool(batch) or known is None


def _continues(file: BinaryIO, offset: int, tail: bytes) -> bool:
    """Return whether a file still has what was read from it. A resumed run drops lines and writes others."""
    file.seek(offset - len(tail))
    return file.read(len(tail)) == tail


def _batch(file: BinaryIO, offset: int) -> Iterator[bytes]:
    """Yield complete lines. A line that is being written is left for later."""
    file.seek(offset)
    read = 0
    for _ in range(BATCH_LINES):
        line = file.readline()
        if not line.endswith(b"\n"):
            return
        yield line
        read += len(line)
        if read >= BATCH_BYTES:
            return


def _new_stage(db: sqlite3.Connection) -> int:
    stage: int = db.execute("select ifnull(max(stage), 0) + 1 from files").fetchone()[0]
    db.execute(f"create virtual table if not exists texts_{stage} using fts5(text, content='')")
    return stage


def _forget(db: sqlite3.Connection, name: str) -> None:
    """Remove everything that was read from a file."""
    (stage,) = db.execute("select stage from files where name = ?", [name]).fetchone()
    if name == _EVENTS:
        db.execute("delete from events")
        db.execute("delete from metrics")
    db.execute("delete from rollouts where id between ? and ?", [stage * LINES, stage * LINES + LINES - 1])
    for table in ("columns", "sums", "outcomes", "latencies"):
        db.execute(f"delete from {table} where stage = ?", [stage])
    db.execute(f"drop table if exists texts_{stage}")
    db.execute("delete from files where name = ?", [name])


def _add_events(db: sqlite3.Connection, offset: int, batch: list[bytes]) -> int:
    """Add lines of ``events.jsonl``. Return how many cannot be read.

    A row of a stage's progress events becomes one event: the last, with the last value of each metric.
    """
    unreadable = 0
    for line in batch:
        event = parse_object(line)
        if event is None:
            unreadable += 1
        else:
            progress = event.get("event") == "stage_progress"
            if progress and not _add_metrics(db, event):
                unreadable += 1
                continue
            if progress:
                _replace_progress(db, event)
            db.execute("insert or replace into events values(?, ?, ?)", [offset, json.dumps(event), progress])
        offset += len(line)
    return unreadable


def _replace_progress(db: sqlite3.Connection, event: dict[str, Any]) -> None:
    """Remove the last event if it is progress of the same stage, after adding its metrics to the new event."""
    last = db.execute("select place, line, progress from events order by place desc limit 1").fetchone()
    if last is None or not last[2]:
        return
    before = json.loads(last[1])
    if before["stage"] == event["stage"]:
        event["metrics"] = {**before["metrics"], **event["metrics"]}
        db.execute("delete from events where place = ?", [last[0]])


def _add_metrics(db: sqlite3.Connection, event: dict[str, Any]) -> bool:
    stage, step, metrics = event.get("stage"), event.get("step"), event.get("metrics")
    if not isinstance(stage, str) or not isinstance(step, int) or not isinstance(metrics, dict):
        return False
    rows = [
        (stage, name, step, float(value))
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    db.executemany("insert or replace into metrics values(?, ?, ?, ?)", rows)
    return True


@dataclass
class _Sum:
    count: int = 0
    scored: int = 0
    total: float = 0.0

    def add(self, value: float | None) -> None:
        self.count += 1
        if value is not None:
            self.scored += 1
            self.total += value


class _StageBatch:
    """Adds lines of one stage's rollouts, with the sums over them."""

    def __init__(self, db: sqlite3.Connection, stage: int) -> None:
        self._db = db
        self._stage = stage
        self._names: dict[tuple[str, str], int] = {
            (kind, text): name for name, kind, text in db.execute("select name, kind, text from names")
        }
        self._prompts: dict[bytes, int] = {}
        self._sums: defaultdict[tuple[int, int, int, int], _Sum] = defaultdict(_Sum)
        self._outcomes: Counter[tuple[int, int]] = Counter()
        self._latencies: Counter[tuple[int, int]] = Counter()

    def add(self, place: int, lines: int, batch: list[bytes]) -> int:
        """Add lines that begin at a place in the file. Return how many cannot be read."""
        unreadable, rows, texts = 0, [], []
        for number, line in enumerate(batch, start=lines + 1):
            rollout = read_line(line)
            if rollout is None:
                unreadable += 1
            else:
                ident = self._stage * LINES + number
                rows.append((ident, place, len(line), rollout, self._count(rollout)))
                texts.append((ident, searchable(rollout.text)))
            place += len(line)
        self._db.executemany(f"insert into texts_{self._stage}(rowid, text) values(?, ?)", texts)
        self._insert(rows)
        self._write_sums()
        return unreadable

    def _insert(self, rows: list[tuple[int, int, int, IndexedRollout, tuple[Any, ...]]]) -> None:
        entries = sorted(name for (kind, _), name in self._names.items() if kind == "entry")
        verdicts = [f"{part}_{entry}" for entry in entries for part in ("value", "outcome")]
        shown, kept = [], []
        for ident, place, size, rollout, known in rows:
            said = {self._name("entry", name): verdict for name, verdict in rollout.verdicts.items()}
            pairs = (
                (said[entry].value, said[entry].outcome) if entry in said else (None, None)
                for entry in entries
            )
            numbers = [part for pair in pairs for part in pair]
            shown.append((ident, *known[:_SHOWN], place, size, *numbers))
            kept.append((*known, *numbers))
        columns = ["id", *list(COLUMNS)[:_SHOWN], "place", "bytes", *verdicts]
        marks = ", ".join("?" * len(columns))
        self._db.executemany(f"insert into rollouts({', '.join(columns)}) values({marks})", shown)
        lines = [ident - self._stage * LINES for ident, *_ in rows]
        append(self._db, self._stage, lines, [*COLUMNS, *verdicts], kept)

    def _count(self, rollout: IndexedRollout) -> tuple[Any, ...]:
        """Add a rollout to the sums. Return its numbers in the order of ``COLUMNS``."""
        model = self._name("model", rollout.model)
        task = self._name("task", rollout.task)
        slice_ = (rollout.step, model, task)
        self._sums[*slice_, REWARD].add(rollout.reward)
        self._sums[*slice_, LENGTH].add(rollout.length)
        self._sums[*slice_, CORRECTIONS].add(rollout.self_corrections)
        outcomes, slowest = 0, 0.0
        for name, verdict in rollout.verdicts.items():
            entry = self._name("entry", name)
            self._sums[*slice_, entry].add(verdict.value)
            self._outcomes[entry, verdict.outcome] += 1
            if verdict.latency_ms > 0:
                self._latencies[entry, round(math.log(verdict.latency_ms) * LATENCY_BUCKETS)] += 1
            outcomes |= 1 << verdict.outcome
            slowest = max(slowest, verdict.latency_ms)
        return (
            *(rollout.step, rollout.group, model, self._prompt(rollout), task),
            *(rollout.reward, rollout.advantage, rollout.length, slowest, outcomes, rollout.completion),
            int.from_bytes(rollout.digest[:8], "big", signed=True),
        )

    def _name(self, kind: str, text: str | None) -> int:
        """Return the number of a name; 0 if there is no name."""
        if text is None:
            return 0
        text = text.encode("utf-8", "replace").decode("utf-8")
        if (kind, text) not in self._names:
            added = self._db.execute("insert into names(kind, text) values(?, ?)", [kind, text]).lastrowid
            assert added is not None
            self._names[kind, text] = added
            if kind == "entry":
                self._db.execute(f"alter table rollouts add column value_{added} real")
                self._db.execute(f"alter table rollouts add column outcome_{added} integer")
        return self._names[kind, text]

    def _prompt(self, rollout: IndexedRollout) -> int:
        known = self._prompts.get(rollout.digest)
        if known is None:
            row = self._db.execute("select prompt from prompts where digest = ?", [rollout.digest]).fetchone()
            known = self._prompts[rollout.digest] = row[0] if row else self._add_prompt(rollout)
        return known

    def _add_prompt(self, rollout: IndexedRollout) -> int:
        shown = rollout.prompt[:PROMPT_SHOWN].encode("utf-8", "replace").decode("utf-8")
        added = self._db.execute(
            "insert into prompts(digest, text) values(?, ?)", [rollout.digest, shown]
        ).lastrowid
        assert added is not None
        self._db.execute(
            "insert into prompt_texts(rowid, text) values(?, ?)", [added, searchable(rollout.prompt)]
        )
        return added

    def _write_sums(self) -> None:
        self._db.executemany(
            "insert into sums values(?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set "
            "count = count + excluded.count, scored = scored + excluded.scored, total = total + excluded.total",
            [(self._stage, *key, one.count, one.scored, one.total) for key, one in self._sums.items()],
        )
        for table, counts in (
            ("outcomes", self._outcomes),
            ("latencies", self._latencies),
        ):
            self._db.executemany(
                f"insert into {table} values(?, ?, ?, ?) on conflict do update set count = count + excluded.count",
                [(self._stage, *key, count) for key, count in counts.items()],
            )
