"""Run queries on SQLite, where they can only read, and only so much."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_VALUE_BYTES = 1_000_000
"""The largest text or blob."""

MAX_HEAP_BYTES = 512 * 2**20
"""The most memory that SQLite uses in this process."""

MAX_QUERY = 50_000
"""The most characters of a query."""

_STEPS = 10_000
"""Steps of SQLite's virtual machine between two counts."""

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_FORBIDDEN_FUNCTIONS = frozenset(
    {"load_extension", "random", "randomblob", "readfile", "writefile", "fts3_tokenizer"}
)
_OUTSIDE = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a query."""

    values: list[tuple[Any, ...]]
    tables: frozenset[str]
    """The tables and views of the database that it read: no tables of SQLite's own, and no function's rows."""


class QueryError(Exception):
    """A query is not valid, tries to do more than read, or passes a limit."""


@contextmanager
def opened(setup: str | None, file: Path | None, max_steps: int) -> Iterator[sqlite3.Connection]:
    """Yield a database: one in memory that a script fills, or a file that is only read.

    Args:
        setup: The script, which may not touch other files.
        file: The file.
        max_steps: The most steps of the script.

    Raises:
        QueryError: The script or the file is not valid.
    """
    try:
        connection = sqlite3.connect(
            ":memory:" if file is None else f"{file.absolute().as_uri()}?mode=ro&immutable=1",
            uri=file is not None,
            isolation_level=None,
            cached_statements=0,
        )
    except sqlite3.Error as error:
        raise QueryError(f"the database cannot be opened: {error}") from None
    try:
        connection.execute(f"PRAGMA hard_heap_limit = {MAX_HEAP_BYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.setlimit(
            sqlite3.SQLITE_LIMIT_LENGTH, max(MAX_VALUE_BYTES, len((setup or "").encode(errors="replace")) + 1)
        )
        if setup is not None:
            connection.set_authorizer(_fills)
            _count_steps(connection, max_steps)
            try:
                connection.executescript(setup)
            except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
                raise QueryError(f"the setup is not valid: {error}") from None
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        yield connection
    finally:
        connection.close()


def query(connection: sqlite3.Connection, text: str, max_rows: int, max_steps: int) -> Rows:
    """Return the rows of one query.

    Raises:
        QueryError: It is not one valid query, does more than read, or passes a limit.
    """
    if len(text) > MAX_QUERY:
        raise QueryError(f"the query has more than {MAX_QUERY} characters")
    connection.set_authorizer(None)
    named = connection.execute(
        "SELECT lower(name) FROM sqlite_master WHERE type IN ('table', 'view')"
    ).fetchall()
    known = {name for (name,) in named}
    tables: set[str] = set()

    def reads(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ and first:
            tables.add(first.lower())
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY

    connection.set_authorizer(reads)
    _count_steps(connection, max_steps)
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        cursor = connection.execute(text)
        if cursor.description is None:
            raise QueryError("it is not a query")
        values = cursor.fetchmany(max_rows + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        raise QueryError(str(error) or type(error).__name__) from None
    finally:
        connection.set_progress_handler(None, 0)
    if len(values) > max_rows:
        raise QueryError(f"it gives more than {max_rows} rows")
    return Rows(values, frozenset(tables & known))


def _fills(action: int, _: str | None, second: str | None, *__: Any) -> int:
    forbidden = action in _OUTSIDE or (
        action == sqlite3.SQLITE_FUNCTION and (second or "").lower() == "load_extension"
    )
    return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK


def _count_steps(connection: sqlite3.Connection, max_steps: int) -> None:
    """Interrupt what runs after a number of steps, which are the same on every machine, as seconds are not."""
    left = max(max_steps // _STEPS, 1)

    def count() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(count, _STEPS)
