"""Select the pages of the table of rollouts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guerdon.index.conditions import ALL, Condition, conditions, phrase, stages_of, with_words
from guerdon.index.filters import Filters, parse_cursor
from guerdon.index.rows import Found, Names, read_rows
from guerdon.index.store import SORTED_COLUMNS, RunIndex

_NOTHING = "1"
"""The columns of a query whose rows are only counted."""

_WALKED = 5000
"""The rollouts of an order that are tried one by one before all that the filters let through are sorted."""

_LEAST, _MOST = -1e308, 1e308
"""The sort keys of a missing number: last in both directions."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the table."""

    rows: Sequence[Found]
    before: str
    """The cursor of the page before; empty if this is the first."""
    after: str
    """The cursor of the page after; empty if this is the last."""


def find(index: RunIndex, filters: Filters) -> Page:
    """Return one page of the rollouts that the filters let through."""
    return index.read(lambda db: _find(db, filters))


def count(index: RunIndex, filters: Filters) -> int:
    """Return the number of rollouts that the filters let through."""

    def answer(db: sqlite3.Connection) -> int:
        names = Names.read(db)
        if filters.active():
            chosen, given = _chosen(names, filters, conditions(names, replace(filters, text="")), _NOTHING)
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
    ids = _from_order(db, names, filters, (plain, given), column, direction, cursor)
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
        return ALL, []
    sign = "<" if direction == "desc" else ">"
    return (f"id {sign} ?", [cursor[1]]) if key == "id" else (f"({key}, id) {sign} (?, ?)", [*cursor])


def _from_order(
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
        words, phrases = with_words(names, filters)
        # CASE, because the list of all rollouts with the words is made where it is first asked for.
        passes, given = f"case when {passes} then {words} else false end", [*given, *phrases]
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
        for stage in sorted(stages_of(names, filters), reverse=direction == "desc"):
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
    queries = [_with_words(stage, filters, condition, columns) for stage in stages_of(names, filters)]
    if not queries:
        return f"select {columns} from rollouts where false", []
    return " union all ".join(query for query, _ in queries), [
        value for _, given in queries for value in given
    ]


def _with_words(stage: int, filters: Filters, condition: Condition, columns: str) -> Condition:
    texts, (also, given) = f"texts_{stage}", condition
    if columns == _NOTHING and also == ALL:
        return f"select 1 from {texts} where {texts} match ?", [phrase(filters.text)]
    joined = f"{texts} cross join rollouts on id = {texts}.rowid"
    return f"select {columns} from {joined} where {texts} match ? and {also}", [phrase(filters.text), *given]


def _sort_column(names: Names, filters: Filters) -> str:
    if filters.sort == "value" and filters.entry in names.entries:
        return f"value_{names.entries[filters.entry]}"
    return "id" if filters.sort in ("line", "value") else filters.sort


def walk(index: RunIndex, filters: Filters) -> Iterator[Found]:
    """Yield all rollouts that the filters let through, a page at a time."""
    page = find(index, filters)
    yield from page.rows
    while page.after:
        page = find(index, replace(filters, after=page.after))
        yield from page.rows
