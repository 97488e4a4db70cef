"""Select the pages of the table of rollouts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon.index.filters import Filters, parse_cursor
from guerdon.index.rows import Found, Names, read_rows
from guerdon.index.selecting import Chunk, Numbers, select
from guerdon.index.store import RunIndex

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
    total: int
    """The rollouts of all pages."""


def find(index: RunIndex, filters: Filters) -> Page:
    """Return one page of the rollouts that the filters let through."""
    return index.read(lambda db: _find(db, filters))


def _find(db: sqlite3.Connection, filters: Filters) -> Page:
    names = Names.read(db)
    column = _sort_column(names, filters)
    cursor = parse_cursor(filters.after or filters.before) if filters.after or filters.before else None
    backwards = bool(filters.before) and not filters.after
    # in the direction of the table, also on the way back
    missing = _LEAST if filters.descending else _MOST
    chosen = _First(filters.size + 1, -1 if filters.descending != backwards else 1, cursor)
    total = 0
    for chunk, places in select(db, names, filters):
        total += len(places)
        ids = chunk.ids[places]
        chosen.add(ids if column == "id" else _keys(chunk, column, missing)[places], ids)
    ends = chosen.ends()
    more = len(ends) > filters.size
    ends = ends[: filters.size]
    if backwards:
        ends.reverse()
    cursors = [f"{key!r}:{ident}" for key, ident in ends[:1] + ends[-1:]]
    has_before = bool(ends) and (more if backwards else bool(cursor))
    has_after = bool(ends) and (backwards or more)
    rows = read_rows(db, names, [ident for _, ident in ends])
    return Page(rows, cursors[0] if has_before else "", cursors[-1] if has_after else "", total)


def _keys(chunk: Chunk, column: str, missing: float) -> Numbers:
    keys = chunk[column]
    return np.where(np.isnan(keys), missing, keys) if keys.dtype == np.float64 else keys


class _First:
    """The first rollouts of an order, after a cursor.

    Args:
        most: How many.
        sign: 1 for the smallest keys first, -1 for the largest.
        cursor: A key and an id. All rollouts up to it are left out.
    """

    def __init__(self, most: int, sign: int, cursor: tuple[float, int] | None) -> None:
        self._most = most
        self._sign = sign
        self._cursor = cursor
        self._keys: Numbers = np.empty(0)
        self._ids: Numbers = np.empty(0, np.int64)

    def add(self, keys: Numbers, ids: Numbers) -> None:
        """Add rollouts, whose ids rise."""
        keys, ids = self._sign * keys.astype(np.float64), self._sign * ids
        if self._cursor is not None:
            key, ident = self._sign * self._cursor[0], self._sign * self._cursor[1]
            later = (keys > key) | ((keys == key) & (ids > ident))
            keys, ids = keys[later], ids[later]
        if len(keys) > self._most:  # the order of the others is not asked for
            last = np.partition(keys, self._most - 1)[self._most - 1]
            equal = np.flatnonzero(keys == last)
            places = [
                np.flatnonzero(keys < last),
                equal[: self._most] if self._sign > 0 else equal[-self._most :],
            ]
            keys, ids = (numbers[np.concatenate(places)] for numbers in (keys, ids))
        keys, ids = np.concatenate([self._keys, keys]), np.concatenate([self._ids, ids])
        order = np.lexsort((ids, keys))[: self._most]
        self._keys, self._ids = keys[order], ids[order]

    def ends(self) -> list[tuple[float, int]]:
        """Return the keys and ids, in their order."""
        keys, ids = (self._sign * self._keys).tolist(), (self._sign * self._ids).tolist()
        return list(zip(keys, ids, strict=True))


def _sort_column(names: Names, filters: Filters) -> str:
    if filters.sort == "value" and filters.entry in names.entries:
        return f"value_{names.entries[filters.entry]}"
    return "id" if filters.sort in ("line", "value") else filters.sort
