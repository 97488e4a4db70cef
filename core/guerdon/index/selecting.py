"""Select rollouts from the index: the pages of the table, groups, and one prompt over the steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guerdon.data.json_values import parse_object
from guerdon.index.filters import Filters, parse_cursor
from guerdon.index.records import OUTCOMES, searchable
from guerdon.index.store import LINES, SORTED_COLUMNS, RunIndex

_LEAST, _MOST = -1e308, 1e308
"""The sort keys of a missing number: last in both directions."""

_WALKED = 5000
"""The rollouts of an order that are tried one by one before all that the filters let through are sorted."""

Condition = tuple[str, list[Any]]
"""A part of a query, with its parameters."""

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


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the table."""

    rows: Sequence[Found]
    before: str
    """The cursor of the page before; empty if this is the first."""
    after: str
    """The cursor of the page after; empty if this is the last."""


def conditions(names: Names, filters: Filters, schema: str = "main") -> Condition:
    """Return the filters as an SQL condition with its parameters."""
    parts: list[str] = []
    given: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        parts.append(condition)
        given.extend(values)

    if filters.stage:
        first = names.stages.get(filters.stage, -1) * LINES
        # "+" leaves the index of steps or prompts to SQLite, which finds fewer rollouts there than in the stage
        one = filters.prompt or (filters.step_min is not None and filters.step_min == filters.step_max)
        add(f"{'+' if one else ''}id between ? and ?", first, first + LINES - 1)
    for column, number in (("model", filters.model), ("task", filters.task)):
        if number:
            known = names.models if column == "model" else names.tasks
            add(f"{column} = ?", known.get(number, -1))
    ranges = {
        "step": (filters.step_min, filters.step_max),
        "grp": (filters.group, filters.group),
        "reward": (filters.reward_min, filters.reward_max),
        "length": (filters.length_min, filters.length_max),
    }
    for column, (least, most) in ranges.items():
        if least is not None and least == most:
            add(f"{column} = ?", least)
            continue
        if least is not None:
            add(f"{column} >= ?", least)
        if most is not None:
            add(f"{column} <= ?", most)
    if filters.unscored:
        add("reward is null")
    if filters.prompt:
        add(f"prompt = (select prompt from {schema}.prompts where digest = ?)", bytes.fromhex(filters.prompt))
    if filters.prompt_text:
        matching = f"select rowid from {schema}.prompt_texts where prompt_texts match ?"
        add(f"prompt in ({matching})", _phrase(filters.prompt_text))
    if filters.text:
        stages = [names.stages[filters.stage]] if filters.stage in names.stages else names.stages.values()
        each = [f"select rowid from {schema}.texts_{stage} where texts_{stage} match ?" for stage in stages]
        add(f"id in ({' union all '.join(each) or 'select null'})", *[_phrase(filters.text)] * len(each))
    _add_verdicts(names, filters, add)
    return " and ".join(parts) or "true", given


def _add_verdicts(names: Names, filters: Filters, add: Any) -> None:
    codes = [
        code
        for code, name in enumerate(OUTCOMES)
        if (not filters.failure or name == f"failed: {filters.failure}")
        and (not filters.outcome or name.partition(":")[0] == filters.outcome)
    ]
    entry = names.entries.get(filters.entry)
    if filters.entry and entry is None:
        add("false")
    elif entry is not None:
        if filters.outcome or filters.failure:
            add(f"outcome_{entry} in ({', '.join(map(str, codes)) or 'null'})")
        if filters.value_min is not None:
            add(f"value_{entry} >= ?", filters.value_min)
        if filters.value_max is not None:
            add(f"value_{entry} <= ?", filters.value_max)
    elif filters.outcome or filters.failure:
        add("outcomes & ? != 0", sum(1 << code for code in codes))


def _phrase(text: str) -> str:
    """Return words as a phrase of the full-text search, whose last word may be unfinished."""
    plain = "".join(letter for letter in searchable(text) if letter.isprintable())
    return '"' + plain.replace('"', '""') + '"*'


def find(index: RunIndex, filters: Filters) -> Page:
    """Return one page of the rollouts that the filters let through."""
    return index.read(lambda db: _find(db, filters))


def count(index: RunIndex, filters: Filters) -> int:
    """Return the number of rollouts that the filters let through."""

    def answer(db: sqlite3.Connection) -> int:
        names = Names.read(db)
        if filters.active():
            chosen, given = _chosen(names, filters, conditions(names, replace(filters, text="")), "1")
            rows = db.execute(f"select count(*) from ({chosen})", given)
        else:
            rows = db.execute("select ifnull(sum(lines - unreadable), 0) from files where name != ''")
        number: int = rows.fetchone()[0]
        return number

    return index.read(answer)


def _find(db: sqlite3.Connection, filters: Filters) -> Page:
    names = Names.read(db)
    column = _sort_column(names, filters)
    plain, given = conditions(names, replace(filters, text=""))
    backwards = bool(filters.before) and not filters.after
    descending = filters.descending != backwards
    direction = "desc" if descending else "asc"
    cursor = parse_cursor(filters.after or filters.before) if filters.after or filters.before else None
    ids = _walk(db, names, filters, (plain, given), column, direction, cursor)
    if ids is None:
        # in the direction of the table, also on the way back
        missing = _LEAST if filters.descending else _MOST
        key = column if column == "id" else f"ifnull({column}, {missing})"
        condition, values = _after(key, direction, cursor)
        ids = _ids(db, names, filters, (f"{plain} and {condition}", [*given, *values]), key, direction)
    more = len(ids) > filters.size
    ids = ids[: filters.size]
    if backwards:
        ids.reverse()
    rows = read_rows(db, names, [ident for ident, _ in ids])
    ends = [f"{float(value)!r}:{ident}" for ident, value in (ids[:1] + ids[-1:])]
    has_before = bool(ids) and (more if backwards else bool(cursor))
    has_after = bool(ids) and (True if backwards else more)
    return Page(rows, ends[0] if has_before else "", ends[-1] if has_after else "")


def _after(key: str, direction: str, cursor: tuple[float, int] | None) -> Condition:
    """Return the condition that a rollout comes after a cursor."""
    if cursor is None:
        return "true", []
    sign = "<" if direction == "desc" else ">"
    return (f"id {sign} ?", [cursor[1]]) if key == "id" else (f"({key}, id) {sign} (?, ?)", [*cursor])


def _walk(
    db: sqlite3.Connection,
    names: Names,
    filters: Filters,
    condition: Condition,
    column: str,
    direction: str,
    cursor: tuple[float, int] | None,
) -> list[tuple[int, float]] | None:
    """Return the ids of a page and one more from the index of a column, or ``None`` if it is not full so.

    Where many rollouts pass the filters, the first of an order are found without a look at the others.
    """
    if not _is_walkable(column) or (cursor is not None and cursor[0] in (_LEAST, _MOST)):
        return None
    passes, given = condition
    if filters.text:
        stages = _stages(names, filters)
        words = " union all ".join(f"select rowid from texts_{n} where texts_{n} match ?" for n in stages)
        # CASE, because the list of all rollouts with the words is made where it is first asked for.
        passes = f"case when {passes} then id in ({words or 'select null'}) else false end"
        given = [*given, *[_phrase(filters.text)] * len(stages)]
    after, values = _after(column, direction, cursor)
    walked = db.execute(
        f"select id, {column}, {passes} from rollouts indexed by by_{column} "
        f"where {column} is not null and {after} order by {column} {direction}, id {direction} limit ?",
        [*given, *values, _WALKED],
    )
    found: list[tuple[int, float]] = []
    for ident, value, passed in walked:
        if passed:
            found.append((ident, value))
        if len(found) > filters.size:
            walked.close()
            return found
    return None


def _is_walkable(column: str) -> bool:
    return column in SORTED_COLUMNS or column.startswith("value_")


def _ids(
    db: sqlite3.Connection,
    names: Names,
    filters: Filters,
    condition: Condition,
    key: str,
    direction: str,
) -> list[tuple[int, float]]:
    """Return the ids of a page and one more, with their sort keys."""
    most = filters.size + 1
    if key == "id" and filters.text:
        # Each stage's full-text index is walked in the order of lines, and left when the page is full: a common word
        # is in every rollout.
        found: list[tuple[int, float]] = []
        for stage in sorted(_stages(names, filters), reverse=direction == "desc"):
            chosen, given = _with_words(stage, filters, condition, "id, id")
            order = f"texts_{stage}.rowid {direction}"
            found += db.execute(f"{chosen} order by {order} limit ?", [*given, most - len(found)])
        return found
    chosen, given = _chosen(names, filters, condition, f"id, {key} as sort_key")
    order = f"sort_key {direction}, id {direction}" if key != "id" else f"id {direction}"
    return db.execute(f"{chosen} order by {order} limit ?", [*given, most]).fetchall()


def _chosen(names: Names, filters: Filters, condition: Condition, columns: str) -> Condition:
    """Return a query for columns of the rollouts under a condition that have the words of the filters."""
    if not filters.text:
        return f"select {columns} from rollouts where {condition[0]}", condition[1]
    queries = [_with_words(stage, filters, condition, columns) for stage in _stages(names, filters)]
    if not queries:
        return f"select {columns} from rollouts where false", []
    return " union all ".join(query for query, _ in queries), [
        value for _, given in queries for value in given
    ]


def _with_words(stage: int, filters: Filters, condition: Condition, columns: str) -> Condition:
    joined = f"texts_{stage} cross join rollouts on id = texts_{stage}.rowid"
    query = f"select {columns} from {joined} where texts_{stage} match ? and {condition[0]}"
    return query, [_phrase(filters.text), *condition[1]]


def _stages(names: Names, filters: Filters) -> list[int]:
    return [number for name, number in names.stages.items() if filters.stage in ("", name)]


def _sort_column(names: Names, filters: Filters) -> str:
    if filters.sort == "value" and filters.entry in names.entries:
        return f"value_{names.entries[filters.entry]}"
    return "id" if filters.sort in ("line", "value") else filters.sort


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


def walk(index: RunIndex, filters: Filters) -> Iterator[Found]:
    """Yield all rollouts that the filters let through, a page at a time."""
    page = find(index, filters)
    yield from page.rows
    while page.after:
        page = find(index, replace(filters, after=page.after))
        yield from page.rows


def groups_of(index: RunIndex, stage: str, step: int) -> list[tuple[int | None, str]]:
    """Return the groups of a step, each with its model; a group is ``None`` where rollouts have none."""

    def answer(db: sqlite3.Connection) -> list[tuple[int | None, str]]:
        names = Names.read(db)
        models = {number: name for name, number in names.models.items()}
        condition, given = conditions(names, Filters(stage=stage, step_min=step, step_max=step))
        query = f"select grp, model from rollouts where {condition} group by grp, model order by min(id)"
        return [(group, models.get(model, "")) for group, model in db.execute(query, given)]

    return index.read(answer)


GROUP_SHOWN = 512
"""The most rollouts of one group that are shown."""


def find_group(index: RunIndex, stage: str, step: int, group: int | None, model: str) -> list[Found]:
    """Return the rollouts of one group of a step, or of one prompt of an evaluated model."""
    filters = Filters(stage=stage, step_min=step, step_max=step, group=group, model=model)

    def answer(db: sqlite3.Connection) -> list[Found]:
        names = Names.read(db)
        condition, given = conditions(names, filters)
        ids = db.execute(
            f"select id from rollouts where {condition} order by id limit ?", [*given, GROUP_SHOWN]
        )
        return read_rows(db, names, [ident for (ident,) in ids])

    return index.read(answer)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The groups beside a group, as pairs of step and group."""

    before: tuple[int, int] | None
    after: tuple[int, int] | None


def neighbours(index: RunIndex, stage: str, step: int, group: int) -> Neighbours:
    """Return the groups of a stage beside one of its groups."""

    def answer(db: sqlite3.Connection) -> Neighbours:
        first = Names.read(db).stages.get(stage, -1) * LINES
        beside = []
        for sign, direction in (("<", "desc"), (">", "asc")):
            row = db.execute(
                f"select step, grp from rollouts indexed by by_step where (step, grp) {sign} (?, ?) "
                "and id between ? and ? and grp is not null "
                f"order by step {direction}, grp {direction} limit 1",
                [step, group, first, first + LINES - 1],
            ).fetchone()
            beside.append(None if row is None else (row[0], row[1]))
        return Neighbours(*beside)

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
