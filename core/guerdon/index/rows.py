"""Read rollouts from the index and from the run's own files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.index.records import OUTCOMES
from guerdon.index.store import LINES, RunIndex

EXCERPT_BYTES = 64 * 1024
"""A table shows no excerpt of a line that is longer."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names in an index, by their numbers."""

    stages: Mapping[str, int]
    entries: Mapping[str, int]
    models: Mapping[str, int]
    tasks: Mapping[str, int]

    @classmethod
    def read(cls, db: sqlite3.Connection, schema: str = "main") -> Names:
        """Return the names of an index."""
        stages = dict(db.execute(f"select name, stage from {schema}.files where name != '' order by stage"))
        kinds: dict[str, dict[str, int]] = {"entry": {}, "model": {}, "task": {}}
        for number, kind, text in db.execute(f"select name, kind, text from {schema}.names order by name"):
            kinds[kind][text] = number
        return cls(stages, kinds["entry"], kinds["model"], kinds["task"])


@dataclass(frozen=True, slots=True)
class Found:
    """One rollout of a page."""

    id: int
    stage: str
    line: int
    """Its line in the stage's ``rollouts.jsonl``, counted from 1."""
    step: int
    group: int | None
    model: str
    task: str
    prompt: str
    digest: str
    reward: float | None
    advantage: float | None
    length: int
    latency_ms: float
    """Of the slowest verdict."""
    verdicts: Mapping[str, tuple[float | None, str]]
    """Each entry's value and outcome."""
    place: int
    bytes: int


def read_rows(db: sqlite3.Connection, names: Names, ids: Sequence[int], schema: str = "main") -> list[Found]:
    """Return the rollouts with some ids, in their order, without those that were removed since."""
    entries = "".join(f", value_{number}, outcome_{number}" for number in names.entries.values())
    stages = {number: name for name, number in names.stages.items()}
    models = {number: name for name, number in names.models.items()}
    tasks = {number: name for name, number in names.tasks.items()}
    found = []
    for ident in ids:
        row = db.execute(
            "select step, grp, model, task, text, digest, reward, advantage, length, latency, place, bytes"
            f"{entries} from {schema}.rollouts join {schema}.prompts using (prompt) where id = ?",
            [ident],
        ).fetchone()
        if row is None:
            continue
        step, group, model, task, prompt, digest, reward, advantage, length, latency, place, size, *said = row
        pairs = zip(names.entries, said[::2], said[1::2], strict=True)
        verdicts = {name: (value, OUTCOMES[outcome]) for name, value, outcome in pairs if outcome is not None}
        stage, line = divmod(ident, LINES)
        found.append(
            Found(
                id=ident,
                stage=stages.get(stage, ""),
                line=line,
                step=step,
                group=group,
                model=models.get(model, ""),
                task=tasks.get(task, ""),
                prompt=prompt,
                digest=digest.hex(),
                reward=reward,
                advantage=advantage,
                length=length,
                latency_ms=latency,
                verdicts=verdicts,
                place=place,
                bytes=size,
            )
        )
    return found


def find_line(index: RunIndex, stage: str, line: int) -> Found | None:
    """Return the rollout on a line of a stage's log, counted from 1."""

    def answer(db: sqlite3.Connection) -> Found | None:
        names = Names.read(db)
        if stage not in names.stages or not 0 < line < LINES:
            return None
        found = read_rows(db, names, [names.stages[stage] * LINES + line])
        return found[0] if found else None

    return index.read(answer)


def read_records(
    index: RunIndex, rows: Sequence[Found], most_bytes: int | None = None
) -> list[dict[str, Any]]:
    """Return the records of rollouts from the run's own files; an empty one where the file has changed since.

    Args:
        index: The index.
        rows: The rollouts.
        most_bytes: Longer lines are not read.
    """
    records: list[dict[str, Any]] = []
    for row in rows:
        if most_bytes is not None and row.bytes > most_bytes:
            records.append({})
            continue
        try:
            with index.rollouts(row.stage).open("rb") as file:
                file.seek(row.place)
                records.append(parse_object(file.read(row.bytes)) or {})
        except OSError:
            records.append({})
    return records
